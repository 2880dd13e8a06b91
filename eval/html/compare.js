// Shows the comparison of the two runs that the reader chose; the figures of every two are in the page's #data.
(() => {
  const section = document.getElementById("compare");
  if (!section) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = section.querySelector("form");
  const body = section.querySelector("tbody");

  function cell(className, ...children) {
    const made = document.createElement("td");
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  function tag(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.textContent = text;
    return made;
  }

  function show() {
    const first = form.first.selectedIndex, second = form.second.selectedIndex;
    const turned = first > second;  // the figures are those of the later run less the earlier one
    const found = data.compared[turned ? `${second},${first}` : `${first},${second}`];
    const about = section.querySelector(".explained");
    section.querySelector("th.first").textContent = data.runs[first][0];
    section.querySelector("th.second").textContent = data.runs[second][0];
    body.replaceChildren();
    if (!found || found.rows.length === 0) {
      about.textContent = first === second ? "Choose two runs." : "These two runs have no item in common.";
      return;
    }
    about.textContent = found.about;
    for (const [benchmark, metric, items, ours, theirs, difference, interval, split, p, adjusted, better, verdict] of found.rows) {
      const run = data.runs.find(([name]) => name === better);
      const row = document.createElement("tr");
      row.append(
        cell("", benchmark, tag("small", "", metric)), cell("", items),
        cell("number", turned ? theirs : ours), cell("number", turned ? ours : theirs),
        cell("number", tag("b", "", turned ? turn(difference) : difference), " ", tag("small", "", turned ? turnBoth(interval) : interval)),
        cell("number", turned ? split.split(" : ").reverse().join(" : ") : split), cell("number", p), cell("number", adjusted),
        cell("", run ? tag("b", `${run[1]} won`, better) : tag("span", "soft", verdict)),
      );
      body.append(row);
    }
    if (turned) about.textContent = found.about.replace(`${data.runs[first][0]} less ${data.runs[second][0]}`, `${data.runs[second][0]} less ${data.runs[first][0]}`);
  }

  const turn = (text) => (text[0] === "+" ? "-" : text[0] === "-" ? "+" : "") + text.replace(/^[+-]/, "");
  const turnBoth = (text) => text.split(" to ").reverse().map(turn).join(" to ");

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
})();
