"""Makes the films of a batch on one worker: a resident pipeline, inputs from anywhere, errors as a status."""

import time
import traceback
from dataclasses import replace
from pathlib import Path

from space_core.cluster.job_table import FilmJob, with_pose_video
from space_core.cluster.status_table import FilmStatus
from space_core.cluster.storage import Place, download, upload
from space_core.errors import ServerFault, SpaceError
from space_core.fault_reasons import fault_reason
from space_core.frame_iterator import FrameIterator
from space_core.media.content_credentials import ContentCredentials
from space_core.media.files import temporary_folder
from space_core.media.text_to_speech import write_speech
from space_core.pipeline import SpacePipeline

UNKNOWN_FAULT = "The film could not be made, because of a fault of SPACE or of the machine; see its cause."


class FilmMaker:
    """Makes film after film with one pipeline, which keeps the portraits that it has prepared."""

    def __init__(self, out: Place, device: str, certificate_folder: Path | None = None) -> None:
        """Loads the pipeline.

        Args:
            out: the folder of the films.
            device: see ``SpacePipeline``.
            certificate_folder: of the certificate that signs the films; None leaves them unsigned.
        """
        credentials = None if certificate_folder is None else ContentCredentials(certificate_folder)
        self._pipeline = SpacePipeline(device, credentials)
        self._out = out

    def make(self, job: FilmJob, attempt: int = 1) -> FilmStatus:
        """Makes a film and uploads it. Failures are returned as a status, never raised.

        Args:
            job: what to make.
            attempt: its number, for the status.
        """
        begun = time.monotonic()
        try:
            status = self._made(job)
        except ServerFault as fault:
            status = FilmStatus(job.row, job.id, "failed", str(fault), fault.reason, _cause(fault.__cause__))
        except SpaceError as refusal:
            status = FilmStatus(job.row, job.id, "refused", str(refusal))
        except Exception as failure:
            traceback.print_exc()  # into the log of the worker
            status = FilmStatus(job.row, job.id, "failed", UNKNOWN_FAULT, fault_reason(failure), _cause(failure))
        return replace(status, seconds=time.monotonic() - begun, attempts=attempt)

    def _made(self, job: FilmJob) -> FilmStatus:
        target = self._out / f"{job.id}.mp4"
        with temporary_folder() as folder:
            film = self._film(job, folder, folder / "film.mp4")
            upload(folder / "film.mp4", target)
        return FilmStatus(
            job.row,
            job.id,
            "done",
            sentence=" ".join(film.notes) or None,
            frames=film.num_frames,
            faces=film.num_faces,
            path=target.shown(),
        )

    def _film(self, job: FilmJob, folder: Path, video: Path) -> FrameIterator:
        photo = download(job.photo, "photo", folder)
        pose_video = None if job.pose_video is None else download(job.pose_video, "video", folder)
        settings = with_pose_video(job.settings, pose_video)
        if job.speech is not None:
            speech = download(job.speech, "recording", folder)
        else:
            assert job.text is not None
            speech = folder / "speech.wav"
            write_speech(job.text, speech, settings[0].max_seconds)
        if len(settings) > 1:
            return self._pipeline.compare_to_file(photo, speech, settings, video)
        return self._pipeline.animate_to_file(photo, speech, video, settings[0])


def _cause(failure: BaseException | None) -> str | None:
    return None if failure is None else f"{type(failure).__name__}: {failure}"[:300]
