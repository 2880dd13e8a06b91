"""Time and memory of a report of real size, and how smoothly its page works in a browser.

    python benchmarks/report.py

makes results of 10 runs on 10 benchmarks of 1,000 items (few-shot prompts, answers of some 150 words; half of the
benchmarks with clusters, one in eleven languages), reports on them, and opens the page in headless Chromium. Then the
same with 2 runs on one benchmark of 10,000 items: 20,000 predictions. Wanted: the first report in under 20 s
and 1 GiB; 20,000 predictions that open and filter without stutter. A page is smooth while no task holds the browser
longer than some 50 ms (Chromium's own mark of a long task); beside it stands what drawing every row at once takes.
"""

import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from chromium import Chromium, executable

from eval.results import Metric, Result, write
from open_instruct.core.command import help_field, run
from open_instruct.core.intervals import interval, standard_error

LANGUAGES = ("en", "es", "fr", "de", "ru", "zh", "ja", "th", "sw", "bn", "te")


@dataclass
class Settings:
    runs: int = help_field("runs of the first report", 10)
    benchmarks: int = help_field("benchmarks of the first report", 10)
    items: int = help_field("items of each benchmark of the first report", 1000)
    browsed: int = help_field("items of the one benchmark of the second report, answered by two runs", 10_000)
    folder: str = help_field("where results and pages go, and stay; by default a temporary folder", "")


def main(settings: Settings) -> None:
    folder = Path(settings.folder or tempfile.mkdtemp(prefix="report-"))
    print("| report | predictions | results, MB | seconds | of CPU | peak MiB | page, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    many = reported(folder / "many", settings.runs, settings.benchmarks, settings.items)
    two = reported(folder / "two", 2, 1, settings.browsed)
    if executable() is None:
        print("no Chromium here: the pages were not opened")
        return
    print("\n| page in Chromium | first paint, ms | first item, ms | longest task, ms |")
    print("| --- | ---: | ---: | ---: |")
    opened(many, "the first report")
    with opened(two, "two runs on one benchmark") as browser:
        print(f"\n| {2 * settings.browsed:,} predictions | until done, ms | longest task, ms | longest frame, ms |")
        print("| --- | ---: | ---: | ---: |")
        for what, script in ACTS.items():
            told = browser.run(MEASURED.replace("ACT", script).replace("ITEMS", str(settings.browsed)))
            print(f"| {what} | {told['done']:.0f} | {told['task']:.0f} | {told['frame']:.0f} |")
    if not settings.folder:
        shutil.rmtree(folder)


def reported(folder: Path, runs: int, benchmarks: int, items: int) -> Path:
    """Make results, report on them, and print what it took."""
    made = folder / "results"
    if not made.exists():
        make(made, runs, benchmarks, items)
    page = folder / "report.html"
    command = [sys.executable, "-m", "eval.report", str(made), "--output", str(page)]
    began, before, peak = time.perf_counter(), cpu_seconds(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, watched.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.02)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{' '.join(command)}: ended with {process.returncode}")
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file()) / 1e6
    print(
        f"| {runs} x {benchmarks} x {items:,} | {runs * benchmarks * items:,} | {size:.0f} | {seconds:.1f} | "
        f"{cpu_seconds() - before:.1f} | "
        f"{peak / 2**20:.0f} | {page.stat().st_size / 1e6:.1f} |",
        flush=True,
    )
    return page


def cpu_seconds() -> float:
    """That ended children took, which other work on the machine changes less than it does the clock's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make(folder: Path, runs: int, benchmarks: int, items: int) -> None:
    """Results as eval.run leaves them. Words are drawn by Zipf's law, so that they pack about as prose does."""
    chance = random.Random(0)
    words = ["".join(chance.choices("etaoinshrdlucmfwypvbg", k=chance.randint(1, 9))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    pool = chance.choices(words, weights, k=200_000)

    def text(count: int) -> str:
        begin = chance.randrange(len(pool) - count)
        return " ".join(pool[begin : begin + count])

    for number in range(benchmarks):
        questions = [text(60) for _ in range(items)]
        examples = text(800)
        ease = [chance.random() for _ in range(items)]
        for place in range(runs):
            rows = []
            for item, question in enumerate(questions):
                right = float(ease[item] < 0.3 + 0.04 * place + 0.1 * chance.random())
                metrics = {"exact_match": right, "f1": right or round(chance.random(), 2)}
                if number == 0:
                    metrics[f"exact_match_{LANGUAGES[item % 11]}"] = right
                rows.append(
                    {
                        "id": f"item-{item}",
                        "question": question,
                        "prompt": f"{examples}\n{question}",
                        "response": text(chance.randint(50, 250)),
                        "target": text(3),
                        "metrics": metrics,
                        **({"cluster": str(item // 10)} if number % 2 else {}),
                    }
                )
            write(folder / f"run-{place}" / f"benchmark-{number}", summed(number, rows), rows)


def summed(number: int, rows: list[dict]) -> Result:
    """The figures of a benchmark's rows."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row["metrics"].items():
            values.setdefault(name, []).append(value)
    titles = {"exact_match": "Right answer", "f1": "F1"}
    metrics = {
        name: Metric(
            sum(found) / len(found),
            len(found),
            standard_error(found),
            *interval(found),
            title=titles.get(name, ""),
            about="as it says",
        )
        for name, found in values.items()
    }
    name, title = f"benchmark-{number}", f"Benchmark {number}"
    return Result(name, title, name, "made up", number, len(rows), len(rows), metrics)


def opened(page: Path, name: str) -> Chromium:
    """Open a page and print how that went."""
    browser = Chromium(width=1280, height=900)
    browser.open(page)
    browser.until("document.querySelector('.card .answers') !== null")
    told = browser.run(OPENED)
    print(f"| {name} | {told['paint']:.0f} | {told['item']:.0f} | {told['task']:.0f} |", flush=True)
    return browser


OPENED = """new Promise(done => {
  let task = 0;
  new PerformanceObserver(list => { for (const one of list.getEntries()) task = Math.max(task, one.duration); })
    .observe({type: 'longtask', buffered: true});
  const paint = performance.getEntriesByName('first-contentful-paint')[0].startTime;
  const item = performance.now();
  setTimeout(() => done({paint, item, task}), 300);
})"""

MEASURED = """(async () => {
  const form = document.querySelector('.filters'), list = document.querySelector('.list');
  const card = document.querySelector('.card'), count = document.querySelector('.filters output');
  const frame = () => new Promise(requestAnimationFrame);
  const until = async test => { while (!test()) await frame(); };
  const input = (field, value) => { field.value = value; field.dispatchEvent(new Event('input', {bubbles: true})); };
  const filtered = async value => {
    const before = count.textContent;
    input(form.show, value);
    await until(() => count.textContent !== before);
  };
  const searched = async (text, test) => {
    input(form.text, text);
    await until(() => !count.textContent.includes('searched') && test(parseInt(count.textContent)));
  };
  let task = 0, longest = 0, running = true, last = performance.now();
  const watch = new PerformanceObserver(seen => {
    for (const one of seen.getEntries()) task = Math.max(task, one.duration);
  });
  watch.observe({type: 'longtask'});
  (async () => {
    while (running) {
      await frame();
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
  })();
  const begun = performance.now();
  ACT
  await frame();
  const done = performance.now() - begun;
  await frame(); await frame();
  running = false;
  await new Promise(go => setTimeout(go, 100));
  watch.disconnect();
  return {done, task, frame: longest};
})()"""

ACTS = {
    "filter: all items": "await filtered('all');",
    "scroll through all, 200 jumps": """
  for (let step = 1; step <= 200; step++) {
    list.scrollTop = step * (list.scrollHeight - list.clientHeight) / 200;
    await frame();
  }""",
    "filter: one run wrong": "await filtered('wrong:0');",
    "200 items, one after the other": """
  for (let step = 0; step < 200; step++) {
    document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}));
    await frame();
  }
  await until(() => card.textContent.includes(' 201 of '));""",
    "search all texts": "await filtered('all'); await searched('item-999', found => found === 11);",
    "search again, other words": "await searched('words that nobody wrote', found => found === 0);",
    "beside: every row drawn at once": """
  const box = document.createElement('div');
  for (let item = 0; item < ITEMS; item++) {
    const row = document.createElement('p');
    row.append('item-' + item + ' ' + 'the words of a question that nobody asked, and so on '.repeat(2));
    box.append(row);
  }
  document.body.append(box); box.getBoundingClientRect();""",
}

if __name__ == "__main__":
    run(main, Settings)
