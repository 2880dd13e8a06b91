// Lists the predictions of the page's #data: one card an item, twenty at a time, by benchmark, by who is right, by text.
(() => {
  const AT_ONCE = 20;
  const data = JSON.parse(document.getElementById("data").textContent);
  const section = document.getElementById("predictions");
  const form = section.querySelector("form");
  const list = section.querySelector(".items");
  const count = section.querySelector("output");
  const more = section.querySelector(".more");
  let matching = [];
  let shown = 0;

  const isRight = (answer) => answer[1] === 1;
  const differ = (item) => new Set(item[3].filter(Boolean).map(isRight)).size > 1;

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);  // strings become text nodes: nothing that a model wrote is read as HTML
    return made;
  }

  function fill(select, options) {
    for (const [value, text] of options) select.append(new Option(text, value));
  }

  function mark(right) {
    return element("span", `mark ${right ? "right" : "wrong"}`, right ? "✓" : "✗");
  }

  function runHeading(index, answer) {
    const [name, colour] = data.runs[index];
    const heading = element("th", colour, element("i", "dot"), name);
    if (answer) {
      const text = isRight(answer) ? "right" : answer[1] > 0 ? `${(100 * answer[1]).toFixed(0)} %` : "wrong";
      heading.append(element("span", `verdict ${isRight(answer) ? "right" : "wrong"}`, text));
    }
    return heading;
  }

  // Line i of a response stands beside step i; which steps are right was decided by the scoring, not here.
  function stepTable(item, steps) {
    const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
    const wanted = lines(item[2]);
    const answers = item[3].map((answer) => answer && lines(String(answer[0])));
    const rows = Math.max(steps, ...answers.map((answer) => (answer ? answer.length : 0)));
    const body = element("tbody");
    for (let row = 0; row < rows; row++) {
      const line = element("tr", "", element("td", "step", row < steps ? `step ${row + 1}` : "extra"));
      line.append(element("td", "", row < steps ? wanted[row] : ""));
      item[3].forEach((answer, run) => {
        const cell = element("td");
        const said = answer && answers[run][row];
        if (answer && said !== undefined) {
          cell.append(element("div", "said", mark(row < steps && answer[2][row] === 1), element("span", "", said)));
        } else if (answer && row < steps) {
          cell.append(element("div", "said", mark(false), element("span", "nothing", "nothing")));
        }
        line.append(cell);
      });
      body.append(line);
    }
    return body;
  }

  function wholeTable(item) {
    const line = element("tr", "", element("td", "step", ""), element("td", "", element("pre", "", String(item[2]))));
    for (const answer of item[3]) {
      const texts = answer ? [answer[0]].flat() : [];
      line.append(element("td", "", ...texts.map((text) => element("pre", "", text === "" ? "(empty)" : text))));
    }
    return element("tbody", "", line);
  }

  function card(item, steps) {
    const [first, ...rest] = item[1].split("\n");
    const question = element("p", "question", element("span", "first", first), rest.length ? "\n" + rest.join("\n") : "");
    const head = element("tr", "", element("th", "step", ""), element("th", "", "right answer"));
    item[3].forEach((answer, run) => head.append(runHeading(run, answer)));
    const table = element("table", "answers", element("thead", "", head), steps ? stepTable(item, steps) : wholeTable(item));
    return element("article", "item", element("span", "id", item[0]), question, element("div", "wide", table));
  }

  function showMore() {
    const steps = data.benchmarks[form.benchmark.value].steps;
    list.append(...matching.slice(shown, shown + AT_ONCE).map((item) => card(item, steps)));
    shown = Math.min(shown + AT_ONCE, matching.length);
    more.hidden = shown === matching.length;
    count.textContent = `${matching.length} of ${data.benchmarks[form.benchmark.value].items.length} items`;
  }

  function passes(item) {
    const [kind, run] = form.show.value.split(":");
    const answer = item[3][run];
    if (kind === "differ" && !differ(item)) return false;
    if (kind === "right" && !(answer && isRight(answer))) return false;
    if (kind === "wrong" && !(answer && !isRight(answer))) return false;
    const wanted = form.text.value.toLowerCase();
    return !wanted || [item[1], item[2], ...item[3].map((one) => one && one[0])].join("\n").toLowerCase().includes(wanted);
  }

  function update() {
    matching = data.benchmarks[form.benchmark.value].items.filter(passes);
    shown = 0;
    list.replaceChildren();
    showMore();
  }

  fill(form.benchmark, data.benchmarks.map((benchmark, index) => [index, benchmark.title]));
  fill(form.show, [["all", "all items"]]);
  if (data.runs.length > 1) fill(form.show, [["differ", "items on which the runs differ"]]);
  data.runs.forEach(([name], run) => fill(form.show, [[`wrong:${run}`, `${name} wrong`], [`right:${run}`, `${name} right`]]));

  // Begin where there is most to see: on the benchmark on which the runs differ most.
  const differing = data.benchmarks.map((benchmark) => benchmark.items.filter(differ).length);
  const most = Math.max(...differing);
  form.benchmark.value = differing.indexOf(most);
  if (most > 0) form.show.value = "differ";
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", showMore);
  update();
})();
