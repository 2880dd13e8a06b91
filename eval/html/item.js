// Draws one item: its question and picture, the right answer, and what each run answered, with its figures and what a
// judge said. For browse.js. Strings become text nodes: nothing that a model wrote is read as HTML.

/** An element of a class, with children that are elements or texts. */
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A text with its control characters shown as signs. */
const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g,
  (sign) => String.fromCharCode(sign === "\u007f" ? 0x2421 : 0x2400 + sign.charCodeAt(0)));

/** @param data the page's #data: runs, units, and the characters of marks. */
function itemDrawer(data) {
  const LONG = 20000;          // characters of a text that are shown at once
  const { right: RIGHT, wrong: WRONG, partly: PARTLY, missing: MISSING } = data.marks;

  // What the card of an item holds; `place` is said at its top.
  function draw(benchmark, place, { id, marks, item: [question, target, picture, answers] }, shown) {
    const made = [element("p", "about small", `${benchmark.title} · item ${visible(id)} · ${place}`)];
    if (picture) {
      const image = element("img", "picture");
      image.src = picture;  // made by eval/pictures.py
      image.alt = "the picture of the item";
      made.push(image);
    }
    made.push(text("question", question));
    const boxes = element("div", "answers");
    if (target !== "") boxes.append(element("section", "answer", element("h3", "", "right answer"), text("", target)));
    for (const run of shown) boxes.append(answerBox(benchmark, run, marks[run], target, answers[run]));
    made.push(boxes);
    return made;
  }

  function answerBox(benchmark, run, mark, target, answer) {
    const [name, colour] = data.runs[run];
    const heading = element("h3", "", element("i", "dot"), name);
    const box = element("section", `answer ${colour}`, heading);
    if (benchmark.partial.includes(run)) heading.append(element("b", "partial", "partial"));
    if (!answer) {
      box.append(element("p", "nothing", "no answer to this item"));
      return box;
    }
    const [response, figures, steps, description, said, verdicts] = answer;
    if (benchmark.words && mark !== MISSING) {
      const [, unit] = benchmark.figures[0];
      const bare = unit === "share" && mark !== PARTLY;  // right or wrong, and nothing in between
      const word = bare ? benchmark.words[mark === RIGHT ? 0 : 1] : figure(figures[0], unit);
      heading.append(element("span", `verdict ${mark === RIGHT ? "right" : mark === PARTLY ? "partly" : "wrong"}`, word));
    }
    const lines = (value) => value.split("\n").map((line) => line.trim()).filter(Boolean);
    const texts = [response].flat();
    if (description || said) {
      const whole = element("details", "", element("summary", "", "whole response"), ...texts.map((one) => text("", one)));
      box.append(element("h4", "", "description"), text("", description), element("h4", "", "answer"), text("", said), whole);
    } else if (typeof response === "string" && steps.length > 0 && lines(target).length === steps.length) {
      box.append(stepLines(lines(response), steps));
    } else {
      const signs = steps.map((value) => sign(value === 1 ? RIGHT : WRONG));
      if (steps.length) box.append(element("p", "steps", "steps ", ...signs));
      texts.forEach((one, place) => {
        if (texts.length > 1) box.append(element("h4", "", `answer ${place + 1}`));
        box.append(text("", one));
      });
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

  const sign = (mark) => element("span", `mark ${mark === RIGHT ? "right" : "wrong"}`, mark === RIGHT ? "✓" : "✗");

  return draw;
}
