"""Makes the films of a batch on one worker: a resident pipeline, inputs from anywhere, errors as a status."""

import time
import traceback
from pathlib import Path

from space_core.animation import Animation
from space_core.cluster.job_table import FilmJob, with_pose_video
from space_core.cluster.status_table import FilmStatus
from space_core.cluster.storage import Place, download, upload
from space_core.comparison import Comparison
from space_core.errors import ServerFault, SpaceError
from space_core.fault_reasons import fault_reason
from space_core.media.content_credentials import ContentCredentials
from space_core.media.files import temporary_folder
from space_core.media.text_to_speech import write_speech
from space_core.pipeline import SpacePipeline


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
        """Makes a film, puts it in its place under its name, and says what became of it; raises nothing.

        Args:
            job: what to make.
            attempt: its number, for the status.
        """
        begun = time.monotonic()
        target = self._out / f"{job.id}.mp4"
        try:
            with temporary_folder() as folder:
                made = self._film(job, folder, folder / "film.mp4")
                upload(folder / "film.mp4", target)
        except SpaceError as refusal:
            fault = refusal if isinstance(refusal, ServerFault) else None
            return FilmStatus(
                job.row,
                job.id,
                "refused" if fault is None else "failed",
                str(refusal),
                None if fault is None else fault.reason,
                None if fault is None else _cause(fault.__cause__),
                time.monotonic() - begun,
                attempts=attempt,
            )
        except Exception as failure:
            traceback.print_exc()  # into the log of the worker
            sentence = "The film could not be made, and the fault is ours or the machine's; see its cause."
            seconds = time.monotonic() - begun
            return FilmStatus(
                job.row, job.id, "failed", sentence, fault_reason(failure), _cause(failure), seconds, attempts=attempt
            )
        return FilmStatus(
            job.row,
            job.id,
            "done",
            sentence=" ".join(made.notes) or None,
            seconds=time.monotonic() - begun,
            frames=made.num_frames,
            faces=made.num_faces,
            attempts=attempt,
            path=target.shown(),
        )

    def _film(self, job: FilmJob, folder: Path, video: Path) -> Animation | Comparison:
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
