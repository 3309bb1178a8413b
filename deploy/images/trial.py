"""A smoke test of the built images: api, dispatcher and worker run from their images and process one image file.

    python -m deploy.images.trial [--worker asset-enrichment-worker:gpu]        as root, after `make images`

Postgres and Redis are embedded and the S3 service is moto's, all from this Python environment. The worker runs both
lanes. With a Docker engine, use `docker compose up` instead.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click
from moto.server import ThreadedMotoServer
from PIL import Image, ImageDraw

from cli.client import Client
from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from cli.sources import Source
from deploy.images.roots import ImageRoot, mounted

MAKE_BUCKET = Path(__file__).parent.parent / "compose" / "make_bucket.py"
START_S = 120.0
STOP_S = 40.0


@click.command()
@click.option("--api", "api_image", default="asset-enrichment-api:latest", show_default=True)
@click.option("--worker", "worker_image", default="asset-enrichment-worker:cpu", show_default=True)
def main(api_image: str, worker_image: str) -> None:
    """Process one image file with the built images, and print the answer."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enrich-trial-")))
        api_root = stack.enter_context(mounted(api_image))
        worker_root = stack.enter_context(mounted(worker_image))
        settings = stack.enter_context(servers(folder))
        port = free_port()
        settings["ENRICH_API__PORT"] = str(port)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # moto logs each request
        prepare(api_root, settings)
        key = output_of(api_root, settings, "keys", "create", "--owner", "trial", "--name", "trial")
        api = stack.enter_context(running("api", api_root, settings, folder, "api"))
        dispatcher = stack.enter_context(running("dispatcher", api_root, settings, folder, "dispatcher"))
        worker = stack.enter_context(running("worker", worker_root, settings, folder, "worker"))
        started = (api, dispatcher, worker)
        wait_until("the api is healthy", lambda: api_root.is_healthy(api.pid, settings), *started)
        wait_until("the worker is healthy", lambda: worker_root.is_healthy(worker.pid, settings), *started)
        for name, process in (("api", api), ("dispatcher", dispatcher), ("worker", worker)):
            click.echo(
                f"{name}: healthy, {identity(process)}" if name != "dispatcher" else f"{name}: {identity(process)}"
            )
        serve_one(f"http://127.0.0.1:{port}", key, folder)


def serve_one(base_url: str, key: str, folder: Path) -> None:
    """Submits a drawn image and prints the answer. Raises SystemExit if the job did not succeed."""
    image_file = folder / "drawn.jpg"
    image_file.write_bytes(drawn_jpeg())
    source = Source(str(image_file), image_file)
    max_bytes = image_file.stat().st_size
    for document in Client(base_url, key).submit_all([source], external_id="trial", wait=True, max_bytes=max_bytes):
        click.echo(json.dumps(document, ensure_ascii=False))
        if document.get("status") != "succeeded":
            raise SystemExit("the job did not succeed")


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """Runs Postgres, Redis and S3 while the block runs, and yields the settings for them."""
    with EmbeddedPostgres(folder / "postgres", durable=False) as postgres, EmbeddedRedis(folder / "redis") as redis:
        store = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        store.start()
        try:
            host, port = store.get_host_and_port()
            yield {
                "ENRICH_DATABASE__URL": postgres.url,
                "ENRICH_QUEUE__URL": redis.url,
                "ENRICH_STORAGE__KIND": "s3",
                "ENRICH_STORAGE__BUCKET": "enrich",
                "ENRICH_S3__ENDPOINT_URL": f"http://{host}:{port}",
                "ENRICH_S3__ACCESS_KEY_ID": "trial",
                "ENRICH_S3__SECRET_ACCESS_KEY": "trial",
            }
        finally:
            store.stop()


def prepare(api_root: ImageRoot, settings: Mapping[str, str]) -> None:
    """Runs the one-time steps of docker-compose.yml: the migrations, and the bucket for uploads."""
    output_of(api_root, settings, "migrate")
    with MAKE_BUCKET.open("rb") as script:
        command = api_root.command(environment=settings, entrypoint=("tini", "--", "python", "-"))
        subprocess.run(command, stdin=script, check=True)  # noqa: S603 - our own image


def output_of(root: ImageRoot, settings: Mapping[str, str], *arguments: str) -> str:
    """Returns the standard output of a command in the image. Its standard error is passed through."""
    command = root.command(*arguments, environment=settings)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()  # noqa: S603


@contextlib.contextmanager
def running(
    name: str, root: ImageRoot, settings: Mapping[str, str], folder: Path, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process from the image while the block runs, then stops it by SIGTERM."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            root.command(*arguments, environment=settings), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=STOP_S)
        click.echo(f"{name}: exit status {status} after SIGTERM")
    except BaseException:
        click.echo(f"the last lines of {name}:\n{log.read_text(errors='replace')[-2000:]}", err=True)
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def identity(process: subprocess.Popen[bytes]) -> str:
    """Returns the process's pid, user id, and root file system access, as the kernel reports them."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    owner = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
    mounts = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
    root = next(fields for fields in map(str.split, mounts) if fields[4] == "/")
    access = "read-only" if "ro" in root[5].split(",") else "writable"
    return f"pid {process.pid}, uid {owner}, root file system {access}"


def wait_until(what: str, is_so: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> None:
    """Polls every half second. Raises SystemExit after a timeout or if a process ends."""
    give_up_at = time.monotonic() + START_S
    while not is_so():
        if any(process.poll() is not None for process in processes):
            raise SystemExit(f"a process ended before {what}")
        if time.monotonic() > give_up_at:
            raise SystemExit(f"{START_S:g} s were not enough until {what}")
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def drawn_jpeg() -> bytes:
    """Returns a drawing of a blue T-shirt on white, as a JPEG file."""
    image = Image.new("RGB", (600, 800), "white")
    draw = ImageDraw.Draw(image)
    draw.polygon([(180, 150), (420, 150), (560, 300), (480, 370), (430, 310), (430, 680), (170, 680), (170, 310),
                  (120, 370), (40, 300)], fill=(30, 60, 160))  # fmt: skip
    draw.pieslice((240, 100, 360, 210), 0, 180, fill="white")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
