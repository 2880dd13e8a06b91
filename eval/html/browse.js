// Lists the items of one benchmark, shows one of them with the answers of the chosen runs, and finds items by who is
// right and by text. Items are unpacked (unpack.js) when they are shown (item.js) or searched, and long work is done in
// slices of a few milliseconds, so that 20,000 items scroll and filter smoothly.
(() => {
  const ROW = 46;              // pixels of a row of the list; style.css has the same
  const SLICE = 8;             // milliseconds of work before the browser may draw
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

  const { unpack, partOf, itemOf } = unpacker(data.benchmarks);
  const drawItem = itemDrawer(data);
  const kinds = { [RIGHT]: "yes", [WRONG]: "no", [PARTLY]: "half", [MISSING]: "missing" };

  // Lets the browser draw and take input; a timer would wait for 4 ms each time.
  function pause() {
    const { port1, port2 } = new MessageChannel();
    return new Promise((go) => { port1.onmessage = go; port2.postMessage(0); });
  }

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
        const dot = element("i", `${data.runs[run][1]} ${kinds[index.marks[run][item]] || "seen"}`);
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
    if (!index) return;  // another benchmark is being unpacked
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
    const found = { id: index.ids[item], marks: index.marks.map((of) => of[item]), item: await itemOf(number, item) };
    if (mine !== work || wanted !== selected) return;
    card.replaceChildren(...drawItem(data.benchmarks[number], `${selected + 1} of ${matching.length}`, found, shown));
    card.scrollTop = 0;
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
      const part = partOf(number, candidates[next]), end = benchmark.offsets[part + 1];
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
    index = null;
    matching = [];
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
