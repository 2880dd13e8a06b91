// Lists the items of one benchmark, shows one of them with the answers of the chosen runs, and finds items by who is
// right and by text. The page holds the items packed in parts (eval/browsable.py); a part is unpacked when it is shown or
// searched, and long work is done in slices of a few milliseconds, so that 20,000 items scroll and filter smoothly.
(() => {
  const ROW = 46;              // pixels of a row of the list; style.css has the same
  const SLICE = 8;             // milliseconds of work before the browser may draw
  const KEPT = 48 << 20;       // characters of unpacked parts that are kept
  const LONG = 20000;          // characters of a text that are shown at once
  const MOST_SHOWN = 4;        // runs that are shown at first

  const data = JSON.parse(document.getElementById("data").textContent);
  const section = document.getElementById("predictions");
  const form = section.querySelector("form");
  const list = section.querySelector(".list");
  const room = section.querySelector(".room");
  const card = section.querySelector(".card");
  const count = section.querySelector("output");
  const trouble = section.querySelector(".trouble");
  const { right: RIGHT, wrong: WRONG, partly: PARTLY, missing: MISSING } = data.marks;

  let number = data.start;     // of the benchmark that is shown
  let index = null;            // its ids, first lines and marks
  let matching = [];           // numbers of the items that pass the filters
  let selected = -1;           // place in `matching`
  let work = 0;                // grows with each change of what is asked for; older work then stops
  let shown = [];              // places of the runs that are shown

  // ---- unpacking

  const parts = new Map();     // "benchmark-part" -> [value, size], the one used longest ago first
  let kept = 0;

  async function unpack(benchmark, part) {
    const name = `${benchmark}-${part}`;
    if (!parts.has(name)) {
      const binary = atob(document.getElementById(`part-${name}`).textContent);
      const bytes = new Uint8Array(binary.length);
      for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
      const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
      parts.set(name, [JSON.parse(text), text.length]);
      kept += text.length;
      for (const [old, [, size]] of parts) {
        if (kept <= KEPT || old === name) break;
        parts.delete(old);
        kept -= size;
      }
    }
    const found = parts.get(name);
    parts.delete(name);
    parts.set(name, found);
    return found[0];
  }

  // The part that an item is in: the last that begins at or before it.
  function partOf(item) {
    const { offsets } = data.benchmarks[number];
    let low = 0, high = offsets.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (offsets[middle] <= item) low = middle; else high = middle - 1;
    }
    return low;
  }

  async function itemOf(item) {
    const part = partOf(item);
    return (await unpack(number, part + 1))[item - data.benchmarks[number].offsets[part]];
  }

  const pause = () => new Promise((go) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = go; port2.postMessage(0); });

  // ---- building elements: strings become text nodes, nothing that a model wrote is read as HTML

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, (sign) => String.fromCharCode(sign === "\u007f" ? 0x2421 : 0x2400 + sign.charCodeAt(0)));

  // A text of a model: its direction stays its own, and one that is very long is shown in part first.
  function text(className, value) {
    const made = element("div", `text ${className}`);
    made.dir = "auto";
    const whole = visible(value);
    made.append(whole === "" ? element("span", "nothing", "(empty)") : whole.slice(0, LONG));
    if (whole.length > LONG) {
      const button = element("button", "", `Show all ${whole.length.toLocaleString("en")} characters`);
      button.type = "button";
      button.addEventListener("click", () => made.replaceChildren(whole));
      made.append(" … ", button);
    }
    return made;
  }

  function figure(value, unit) {
    const [scale, decimals, suffix, signed] = data.units[unit];
    return (signed && value >= 0 ? "+" : "") + (scale * value).toFixed(decimals) + suffix;
  }

  const sign = (mark) => element("span", `mark ${mark === RIGHT ? "right" : mark === PARTLY ? "partly" : "wrong"}`, mark === RIGHT ? "✓" : mark === PARTLY ? "~" : "✗");

  // ---- the list: only the rows in sight are elements

  function drawList() {
    room.style.height = `${matching.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(matching.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 4);
    const rows = [];
    for (let place = first; place < last; place++) {
      const item = matching[place];
      const row = element("div", `row${place === selected ? " selected" : ""}`);
      row.style.top = `${place * ROW}px`;
      row.role = "option";
      row.ariaSelected = place === selected;
      row.dataset.place = place;
      const marks = element("span", "marks");
      for (const run of shown) {
        const mark = index.marks[run][item];
        const dot = element("i", `${data.runs[run][1]} ${mark === RIGHT ? "yes" : mark === WRONG ? "no" : mark === PARTLY ? "half" : mark === MISSING ? "missing" : "seen"}`);
        dot.title = data.runs[run][0];
        marks.append(dot);
      }
      const line = element("span", "line", visible(index.firsts[item] || ""));
      line.dir = "auto";
      row.append(element("span", "id", visible(index.ids[item])), marks, line);
      rows.push(row);
    }
    room.replaceChildren(...rows);
  }

  let drawing = 0;
  const drawListSoon = () => { if (!drawing) drawing = requestAnimationFrame(() => { drawing = 0; drawList(); }); };

  function tell(searched) {
    const all = data.benchmarks[number].count;
    const how = searched === undefined ? "" : `, ${Math.floor(100 * searched)} % searched`;
    count.textContent = `${matching.length.toLocaleString("en")} of ${all.toLocaleString("en")} items${how}`;
  }

  // ---- one item

  async function select(place) {
    selected = Math.min(Math.max(place, 0), matching.length - 1);
    const mine = work;
    if (selected < 0) {
      card.replaceChildren(element("p", "soft", "No item is as asked for."));
      drawListSoon();
      return;
    }
    const top = selected * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    drawListSoon();
    const item = matching[selected], wanted = selected;
    const found = await itemOf(item);
    if (mine === work && wanted === selected) drawItem(item, found);
  }

  function drawItem(item, [question, target, picture, answers]) {
    const benchmark = data.benchmarks[number];
    const head = element("p", "about small", `${benchmark.title} · item ${visible(index.ids[item])} · ${selected + 1} of ${matching.length}`);
    const made = [head];
    if (picture) {
      const image = element("img", "picture");
      image.src = picture;  // made by eval/pictures.py
      image.alt = "the picture of the item";
      made.push(image);
    }
    made.push(text("question", question));
    const boxes = element("div", "answers");
    if (target !== "") boxes.append(element("section", "answer", element("h3", "", "right answer"), text("", target)));
    for (const run of shown) boxes.append(answerBox(run, item, target, answers[run]));
    made.push(boxes);
    card.replaceChildren(...made);
    card.scrollTop = 0;
  }

  function answerBox(run, item, target, answer) {
    const benchmark = data.benchmarks[number];
    const [name, colour] = data.runs[run];
    const heading = element("h3", "", element("i", "dot"), name);
    const box = element("section", `answer ${colour}`, heading);
    if (benchmark.partial.includes(run)) heading.append(element("b", "partial", "partial"));
    if (!answer) {
      box.append(element("p", "nothing", "no answer to this item"));
      return box;
    }
    const [response, figures, steps, description, said, verdicts] = answer;
    const mark = index.marks[run][item];
    if (benchmark.words && mark !== MISSING) {
      const [, unit] = benchmark.figures[0];
      const bare = unit === "share" && mark !== PARTLY;  // right or wrong, and nothing in between
      const word = bare ? benchmark.words[mark === RIGHT ? 0 : 1] : figure(figures[0], unit);
      heading.append(element("span", `verdict ${mark === RIGHT ? "right" : mark === PARTLY ? "partly" : "wrong"}`, word));
    }
    const lines = (value) => value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (description || said) {
      const whole = element("details", "", element("summary", "", "whole response"), ...[response].flat().map((one) => text("", one)));
      box.append(element("h4", "", "description"), text("", description), element("h4", "", "answer"), text("", said), whole);
    } else if (typeof response === "string" && steps.length > 0 && lines(target).length === steps.length) {
      box.append(stepLines(lines(response), steps));
    } else {
      if (steps.length) box.append(element("p", "steps", "steps ", ...steps.map((value) => sign(value === 1 ? RIGHT : WRONG))));
      const texts = [response].flat();
      texts.forEach((one, place) => box.append(...(texts.length > 1 ? [element("h4", "", `answer ${place + 1}`)] : []), text("", one)));
    }
    const told = figures.map((value, place) => [...benchmark.figures[place], value]).filter(([, , value]) => value !== null);
    if (told.length > 1 || (told.length && !benchmark.words)) {
      box.append(pairs("values", told.map(([title, unit, value]) => [title, figure(value, unit)])));
    }
    for (const verdict of verdicts) box.append(element("h4", "", "judge"), pairs("verdicts", verdict));
    return box;
  }

  // Line i of a response stands beside step i; which steps are right was decided by the scoring, not here.
  function stepLines(said, steps) {
    const made = element("ol", "lines");
    for (let step = 0; step < Math.max(said.length, steps.length); step++) {
      const line = said[step] === undefined ? element("span", "nothing", "nothing") : element("span", "", visible(said[step]));
      line.dir = "auto";
      made.append(element("li", "", sign(step < steps.length && steps[step] === 1 ? RIGHT : WRONG), line));
    }
    return made;
  }

  function pairs(className, told) {
    const made = element("dl", className);
    for (const [what, said] of told) {
      const value = element("dd", "", visible(said));
      value.dir = "auto";
      made.append(element("div", "", element("dt", "", visible(what)), value));
    }
    return made;
  }

  // ---- filters

  function passes(item) {
    const [kind, run] = form.show.value.split(":");
    if (kind === "all") return true;
    if (kind === "differ") {
      let right = false, other = false;
      for (const one of shown) {
        const mark = index.marks[one][item];
        if (mark === RIGHT) right = true; else if (mark === WRONG || mark === PARTLY) other = true;
      }
      return right && other;
    }
    const mark = index.marks[run][item];
    return kind === "right" ? mark === RIGHT : mark === WRONG || mark === PARTLY;
  }

  function holds(id, [question, target, , answers], wanted) {
    const has = (value) => value.toLowerCase().includes(wanted);
    return has(id) || has(question) || has(target) || shown.some((run) => {
      const answer = answers[run];
      return answer && ([answer[0]].flat().some(has));
    });
  }

  async function update() {
    const mine = ++work;
    section.ariaBusy = "true";
    await found(mine);
    if (mine === work) section.ariaBusy = "false";
  }

  async function found(mine) {
    const benchmark = data.benchmarks[number];
    const unpacked = await unpack(number, 0);
    if (mine !== work) return;
    index = unpacked;
    const candidates = [];
    for (let item = 0; item < benchmark.count; item++) if (passes(item)) candidates.push(item);
    const wanted = form.text.value.toLowerCase();
    list.scrollTop = 0;
    if (wanted === "") {
      matching = candidates;
      tell();
      await select(0);
      return;
    }
    matching = [];
    selected = -1;
    let begun = performance.now(), drawn = 0;
    for (let next = 0; next < candidates.length;) {
      const part = partOf(candidates[next]), end = benchmark.offsets[part + 1];
      const items = await unpack(number, part + 1);
      for (; next < candidates.length && candidates[next] < end; next++) {
        const item = candidates[next];
        if (holds(index.ids[item], items[item - benchmark.offsets[part]], wanted)) matching.push(item);
        if (performance.now() - begun > SLICE) {
          if (matching.length !== drawn) drawListSoon();
          if (selected < 0 && matching.length) select(0);
          drawn = matching.length;
          tell(next / candidates.length);
          await pause();
          if (mine !== work) return;
          begun = performance.now();
        }
      }
      if (mine !== work) return;
    }
    tell();
    if (selected < 0) await select(0); else drawListSoon();
  }

  function fill(select, options, value) {
    select.replaceChildren(...options.map(([key, label]) => new Option(label, key)));
    if (options.some(([key]) => String(key) === String(value))) select.value = value;
  }

  // What can be asked for: the runs that are shown, and the words of the benchmark.
  function offer(value) {
    const { words } = data.benchmarks[number];
    const options = [["all", "all items"]];
    if (words) {
      if (shown.length > 1) options.push(["differ", "items on which the runs differ"]);
      for (const run of shown) options.push([`wrong:${run}`, `${data.runs[run][0]} ${words[1]}`], [`right:${run}`, `${data.runs[run][0]} ${words[0]}`]);
    }
    fill(form.show, options, value);
  }

  function choose(benchmark, show) {
    number = benchmark;
    form.benchmark.value = number;
    offer(show === "differ" && data.benchmarks[number].differ === 0 ? "all" : show);
    update().catch(report);
  }

  function report(error) {
    trouble.textContent = `This browser cannot show the predictions (${error.message}); they also stand in the predictions.jsonl files.`;
    trouble.hidden = false;
  }

  // ---- begin

  fill(form.benchmark, data.benchmarks.map((benchmark, place) => [place, benchmark.title]), number);
  const first = data.runs.length <= MOST_SHOWN ? data.runs.map((_, run) => run) : data.chosen;
  const toggles = section.querySelector(".shown");
  data.runs.forEach(([name, colour], run) => {
    const box = element("input");
    box.type = "checkbox";
    box.value = run;
    box.checked = first.includes(run);
    toggles.append(element("label", colour, box, element("i", "dot"), name));
  });
  toggles.hidden = data.runs.length === 1;
  const readShown = () => { shown = [...toggles.querySelectorAll("input:checked")].map((box) => Number(box.value)); };
  readShown();

  let waiting = 0;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    if (event.target === form.text) {
      waiting = setTimeout(() => update().catch(report), 120);
    } else if (event.target === form.benchmark) {
      choose(Number(form.benchmark.value), form.show.value);
    } else {
      if (event.target.type === "checkbox") { readShown(); offer(form.show.value); }
      update().catch(report);
    }
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  list.addEventListener("scroll", drawListSoon, { passive: true });
  window.addEventListener("resize", drawListSoon);
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) select(Number(row.dataset.place)).catch(report);
  });

  // The list's own keys, and letters wherever no text is being written.
  const page = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const inList = {
    ArrowDown: () => selected + 1, ArrowUp: () => selected - 1, PageDown: () => selected + page(), PageUp: () => selected - page(),
    Home: () => 0, End: () => matching.length - 1,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = event.target.closest("input[type=search], select, textarea");
    if (writing) {
      if (event.key === "Escape") writing.blur();
      if (event.key === "Enter" && writing === form.text) list.focus();
      return;
    }
    const go = (event.target === list && inList[event.key]) || { j: () => selected + 1, k: () => selected - 1 }[event.key];
    const ask = { d: "differ", a: "all" }[event.key];
    if (go) select(go()).catch(report);
    else if (event.key === "/") form.text.focus();
    else if (event.key === "b") choose((number + 1) % data.benchmarks.length, form.show.value);
    else if (ask && [...form.show.options].some((option) => option.value === ask)) { form.show.value = ask; update().catch(report); }
    else return;
    event.preventDefault();
  });

  // Begin where there is most to see: on the benchmark on which the runs differ most.
  if (data.benchmarks.length === 0) return;
  choose(data.start, data.benchmarks[data.start].differ ? "differ" : "all");
})();
