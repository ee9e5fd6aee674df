"""The rendering contract at full size: what is too long for the tests, run by hand.

    python tests/full_contract.py hashes     one SHA-256 over 27 ways to paint 8192x4096
    python tests/full_contract.py kills      kill -9 twenty times in one render; then a bad shard
    python tests/full_contract.py far        a window at (10^12, -10^12) against one at the origin
    python tests/full_contract.py memory     anonymous peak of 65536x8192, 16384x8192, 16384x65536

Every part prints what it measured and exits with 1 when the contract does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from infinite_render.geometry import Window
from infinite_render.models import load_model
from infinite_render.rendering.canvas import Canvas, Progress, paint_canvas
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store

SEED = 7
HEIGHT, WIDTH = 4096, 8192
BAND_PX = 512


def digest_of(store_path: Path, window: Window) -> str:
    """SHA-256 of a window of a store's picture, uint8 [h,w,3], row by row."""
    digest = hashlib.sha256()
    with open_store(store_path) as store:
        for y in range(window.y, window.y + window.height, BAND_PX):
            rows = min(BAND_PX, window.y + window.height - y)
            digest.update(store.read(y, window.x, rows, window.width).tobytes())
    return digest.hexdigest()


def shuffled(blocks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return random.sample(list(blocks), len(blocks))


def reverse(blocks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return list(blocks)[::-1]


ORDERS = {"forward": list, "reverse": reverse, "random": shuffled}


def paint(arguments: argparse.Namespace) -> None:
    """Paint one canvas in this process; the parts below run it as another, to be killed."""
    scene = Scene(load_model(arguments.model), seed=SEED)
    depth = arguments.depth
    canvas = Canvas(scene, Window(0, 0, arguments.height, arguments.width), depth)
    steps = paint_canvas(
        canvas,
        Path(arguments.out),
        store_path=Path(arguments.store) if arguments.store else None,
        workers=arguments.workers,
        order=ORDERS[arguments.order],
    )
    for step in steps:
        assert isinstance(step, Progress)
        if step.notice:
            print(step.notice, flush=True)


def start(out: Path, options: argparse.Namespace, **changes: object) -> subprocess.Popen[str]:
    """Another process that paints; `changes` are its options."""
    asked = {"model": options.model, "depth": options.depth, "height": HEIGHT, "width": WIDTH}
    asked |= changes
    words = [word for key, value in asked.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, __file__, "paint", "--out", str(out), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"painting ended with {process.returncode}")
    return said


def kill_soon(process: subprocess.Popen[str], longest_s: float) -> bool:
    """Kill -9 at a random moment; False when the process had ended before."""
    try:
        process.wait(random.uniform(0.05, 1.0) * longest_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def hashes(options: argparse.Namespace, folder: Path) -> bool:
    whole, seen = Window(0, 0, HEIGHT, WIDTH), {}
    for workers in (1, 2, 3):
        for order in ORDERS:
            for kills in (0, 1):
                out = folder / f"{workers}-{order}-{kills}.zarr"
                changes = {"workers": workers, "order": order}
                begin = time.perf_counter()
                if kills:
                    killed = kill_soon(start(out, options, **changes), options.longest)
                finish(start(out, options, **changes))
                name = f"{workers} workers, {order}" + (", killed and resumed" if kills else "")
                seen[name] = digest_of(out, whole)
                note = f"{time.perf_counter() - begin:.0f} s"
                print(f"{seen[name][:16]}  {name}  {note}", flush=True)
                assert not kills or killed, "ended before it was killed; lower --longest"
                if not (workers == 1 and order == "forward" and not kills):
                    shutil.rmtree(out)
    reference = folder / "1-forward-0.zarr"

    for height, width in ((6144, 8192), (4096, 10240), (5000, 9000)):
        out = folder / "grown.zarr"
        finish(start(out, options, workers=2, height=height, width=width))
        name = f"grown to {width}x{height}"
        seen[name] = digest_of(out, whole)
        print(f"{seen[name][:16]}  {name}", flush=True)
        shutil.rmtree(out)

    scene = Scene(load_model(options.model), seed=SEED)
    for number in range(6):
        height, width = random.randint(1, 900), random.randint(1, 900)
        y, x = random.randint(0, HEIGHT - height), random.randint(0, WIDTH - width)
        read = scene.render(y, x, height, width, depth=options.depth, workers=2)
        same = hashlib.sha256(read.tobytes()).hexdigest() == digest_of(
            reference, Window(y, x, height, width)
        )
        seen[f"read {number}"] = seen["1 workers, forward"] if same else "differs"
        print(f"{'same' if same else 'DIFFERS'}  read of {width}x{height} at {y},{x}", flush=True)
    print(f"{len(seen)} ways, {len(set(seen.values()))} hash: {seen['1 workers, forward']}")
    return len(set(seen.values())) == 1


def kills(options: argparse.Namespace, folder: Path) -> bool:
    undisturbed, killed = folder / "whole.tif", folder / "killed.tif"
    stores = folder / "whole.zarr", folder / "killed.zarr"
    finish(start(undisturbed, options, workers=2, store=stores[0]))
    count = 0
    while count < 20:
        count += kill_soon(start(killed, options, workers=2, store=stores[1]), options.longest / 4)
        if killed.exists() and count < 20:
            print("the file was whole before the twentieth kill; painting it anew", flush=True)
            killed.unlink()
            shutil.rmtree(stores[1])
    if killed.exists():
        print("a final name after a kill: it must be the whole file")
    finish(start(killed, options, workers=2, store=stores[1]))
    same = killed.read_bytes() == undisturbed.read_bytes() and same_tree(*stores)
    print(f"{count} kills: TIFF and store {'byte for byte' if same else 'DIFFER'}")

    shard = stores[1] / "0" / "c" / "0" / "1" / "2"
    shard.write_bytes(random.randbytes(shard.stat().st_size))
    said = finish(start(killed, options, workers=2, store=stores[1]))
    print(said.strip())
    mended = killed.read_bytes() == undisturbed.read_bytes() and same_tree(*stores)
    return same and mended and "(1, 2)" in said


def same_tree(first: Path, second: Path) -> bool:
    names = [sorted(p.relative_to(d) for p in d.rglob("*") if p.is_file()) for d in (first, second)]
    return names[0] == names[1] and all(
        (first / name).read_bytes().replace(first.name.encode(), b"")
        == (second / name).read_bytes().replace(second.name.encode(), b"")
        for name in names[0]
    )


def far(options: argparse.Namespace, folder: Path) -> bool:
    scene = Scene(load_model(options.model), seed=SEED)
    places = {"origin": (0, 0), "far": (10**12, -(10**12))}
    spent: dict[str, list[float]] = {name: [] for name in places}
    for _ in range(8):
        for name, (y, x) in places.items():
            scene.forget()
            begin = time.perf_counter()
            window = scene.render(y + 100, x + 100, 700, 900, depth=options.depth)
            spent[name].append(time.perf_counter() - begin)
    y, x = places["far"]
    larger = scene.render(y, x, 1200, 1300, depth=options.depth)
    same = bool((larger[100:800, 100:1000] == window).all())
    ratio = sorted(spent["far"])[4] / sorted(spent["origin"])[4]
    print(f"at 10^12: {'same' if same else 'DIFFERS'} in a larger window, {ratio:.3f} of the time")
    return same and ratio < 1.10


def memory(options: argparse.Namespace, folder: Path) -> bool:
    peaks = {}
    for width, height in ((16384, 8192), (16384, 65536), (65536, 8192)):
        out = folder / "memory.tif"
        begin = time.perf_counter()
        process = start(out, options, workers=2, height=height, width=width)
        peak = 0
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.2)
        finish(process)
        seconds = time.perf_counter() - begin
        peaks[width, height] = peak
        rate = width * height / 1e6 / seconds
        print(
            f"{width}x{height}: {peak / 2**20:.0f} MiB anonymous peak, {rate:.2f} Mpx/s",
            flush=True,
        )
        out.unlink()
    tall_ratio = peaks[16384, 65536] / peaks[16384, 8192]
    print(f"eight times as tall: {tall_ratio:.3f} of the memory")
    return peaks[65536, 8192] <= 1.5 * 2**30 and tall_ratio <= 1.05


def anonymous_bytes(pid: int) -> int:
    """Anonymous memory of a process: what it holds beside mapped files."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Anonymous:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


PARTS = {"hashes": hashes, "kills": kills, "far": far, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=[*PARTS, "paint"])
    parser.add_argument("--model", default="landscape")
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds until a kill, at most")
    parser.add_argument("--folder", default=None, help="where to paint; by default a temporary one")
    parser.add_argument("--out")
    parser.add_argument("--store")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--order", choices=list(ORDERS), default="forward")
    parser.add_argument("--height", type=int, default=HEIGHT)
    parser.add_argument("--width", type=int, default=WIDTH)
    options = parser.parse_args()
    if options.part == "paint":
        paint(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        holds = PARTS[options.part](options, Path(folder))
    print("holds" if holds else "DOES NOT HOLD")
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
