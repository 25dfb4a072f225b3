"""Removes what visitors gave when it has expired: uploads, results, and what the service keeps of them."""

import asyncio
from collections.abc import Callable

import anyio
import gradio as gr

from space_core.media import run_folder
from space_core.web import gradio_page
from space_core.web.faults import log_fault
from space_core.web.private_files import UPLOADS_THAT_FIT, expire_files, free_uploads, is_private

EXPIRY_INTERVAL = 60  # seconds between two searches for what has expired
SCARCE_SECONDS = 600  # for which files are kept at least, while the disk is nearly full


async def expire_regularly(
    page: gr.Blocks, older_than: float, max_upload_bytes: int, on_expiry: Callable[[float], None]
) -> None:
    """Removes what is older than so many seconds, until it is cancelled; for ``on_expiry`` see ``Callbacks``.

    Files that are older than ``SCARCE_SECONDS`` are removed while the disk is nearly full, or a crowd's films would
    leave no room for those that come next.
    """
    kept_seconds = older_than

    async def expire_uploads() -> None:
        is_scarce = free_uploads(max_upload_bytes) < UPLOADS_THAT_FIT
        older_than = min(kept_seconds, SCARCE_SECONDS) if is_scarce else kept_seconds
        # Gradio's own clean-up misses uploads that broke off.
        folder = gradio_page.upload_folder()
        if is_private(folder):
            kept = gradio_page.example_files(page)
            removed = await anyio.to_thread.run_sync(expire_files, folder, kept, older_than)
            gradio_page.forget_files(page, removed)
            work = folder.parent / "work"
            locks = {str(path) for path in work.glob(f"{run_folder.PREFIX}*/{run_folder.LOCK}")}  # of runs that go on
            await anyio.to_thread.run_sync(expire_files, work, locks, kept_seconds)

    async def expire_others() -> None:
        await anyio.to_thread.run_sync(on_expiry, older_than)

    while True:
        await asyncio.sleep(EXPIRY_INTERVAL)
        for expire in (expire_uploads, expire_others):
            try:
                await expire()
            except Exception as error:  # a file that can't be removed now may be next time
                log_fault(error)
