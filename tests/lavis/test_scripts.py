"""The scripts, run as a person does: downloads, the published name of the training, and the whole miniature."""

import http.server
import json
import os
import subprocess
import threading
from functools import partial

import pytest

import eval.results
from lavis.config import ROOT

LAVIS = ROOT / "LAVIS"
GQA = {"201": {"question": "Is it?", "imageId": "7", "isBalanced": True, "answer": "yes"}}


def run(script, *arguments, cwd=None, **variables):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        ["bash", str(LAVIS / script), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=900
    )


def test_downloads_come_from_a_mirror_and_become_rows(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "testdev_balanced_questions.json").write_text(json.dumps(GQA))
    variables = {"DATA_DIR": str(tmp_path / "data"), "DATA_MIRROR": str(mirror)}
    done = run("download_vqa.sh", "gqa", cwd=LAVIS, **variables)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "data" / "rows" / "base_vqa_gqa_testdev.json").read_text())
    assert rows[0]["image"] == "7.jpg" and rows[0]["answers"] == ["yes"]
    (mirror / "testdev_balanced_questions.json").unlink()  # it is there: not looked for again
    assert "testdev_balanced_questions.json is there" in run("download_vqa.sh", "gqa", **variables).stdout


def test_sizes_are_told_before_and_checked_after(tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "v2_Questions_Train_mscoco.zip").write_bytes(b"PK cut off")
    done = run("download_vqa.sh", "vqa", DATA_DIR=str(tmp_path / "data"), DATA_MIRROR=str(mirror))
    assert done.returncode == 1
    assert "v2_Annotations_Train_mscoco.zip, 22 MB" in done.stdout
    assert "To bring: 43 MB; with the unpacked files it takes 86 MB for a while." in done.stdout
    assert "v2_Questions_Train_mscoco.zip has 10 bytes, expected 7239401; copy it again" in done.stderr


def test_a_download_goes_on_where_it_broke_off(tmp_path):
    """The server sends ranges; the first half is there already."""
    served = tmp_path / "served" / "LAVIS" / "datasets" / "gqa"
    served.mkdir(parents=True)
    text = json.dumps(GQA)
    (served / "testdev_balanced_questions.json").write_text(text)
    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, asked, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    downloads = tmp_path / "data" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / "testdev_balanced_questions.json.part").write_text(text[:40])
    done = run(
        "download_vqa.sh", "gqa", DATA_DIR=str(tmp_path / "data"), LAVIS_URL=f"http://127.0.0.1:{server.server_port}",
        no_proxy="127.0.0.1",
    )  # fmt: skip
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert asked == ["bytes=40-"]
    assert (tmp_path / "data" / "annotations" / "testdev_balanced_questions.json").read_text() == text


class _Ranges(http.server.SimpleHTTPRequestHandler):
    def __init__(self, asked, *arguments, **more):
        self.asked = asked
        super().__init__(*arguments, **more)

    def do_GET(self):
        wanted = self.headers.get("Range", "")
        self.asked.append(wanted)
        with open(self.translate_path(self.path), "rb") as file:
            data = file.read()
        first = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        self.send_response(206 if first else 200)
        self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:])

    def log_message(self, *arguments):
        pass


def test_an_unknown_part_and_a_missing_mirror_are_refused(tmp_path):
    assert "coco: expected vqa, gqa, captions, images or gqa_images" in run("download_vqa.sh", "coco").stderr
    done = run("download_vqa.sh", "gqa", DATA_MIRROR=str(tmp_path / "none"))
    assert done.returncode == 1 and "no such folder" in done.stderr


def test_the_published_name_of_the_training_trains_and_says_so(tmp_path):
    """Its variables and options reach train.py, whose settings refuse the last one."""
    done = run(
        "run_scripts/blip2/train/eval_instruct_caption_coco.sh", "--options", "run.max_epochs=1", cwd=LAVIS,
        ROWS="base", ROWS_DIR=str(tmp_path), OUTPUT_DIR=str(tmp_path / "out"), NUM_PROCESSES="1",
    )  # fmt: skip
    assert done.stdout.startswith("This trains (the published name says eval)")
    assert done.returncode == 1
    assert "caption_coco_vicuna7b_train.yaml: no setting run.max_epochs; did you mean max_epoch?" in done.stderr
    bare = run("run_scripts/blip2/train/eval_instruct_caption_coco.sh", cwd=LAVIS, CFG="none.yaml", NUM_PROCESSES="1")
    assert "error: none.yaml: cannot be read" in bare.stderr  # without options, too


@pytest.mark.slow
def test_the_miniature_runs_from_pictures_to_report_and_goes_on(tmp_path):
    """Few pictures, one step, one of the two models: the road is what is tested, not what is learned."""
    variables = {"OUTPUT": str(tmp_path / "out"), "PICTURES": "32", "TEST": "6", "THREADS": "1", "RUNS": "sit"}
    done = run("run_scripts/blip2/train/train_miniature.sh", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    results = eval.results.read_run(tmp_path / "out" / "results" / "sit")
    assert set(results) == {"vqa", "vqa_distracted"} and results["vqa"].n == 6
    assert (tmp_path / "out" / "report.html").is_file()
    assert "pictures are left out" not in done.stdout  # the page holds the picture of each question
    again = run("run_scripts/blip2/train/train_miniature.sh", **{**variables, "PICTURES": "64"})
    assert "PICTURES or TEST; name another folder" in again.stderr
