"""Content Credentials: a signed manifest inside an MP4 that says it was generated, by the C2PA standard."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from space_core.errors import SpaceError
from space_core.media.files import shown_name, temporary_sibling

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, KeyUsage, Name

SOFTWARE, VERSION = "SPACE", "1.0"  # what made the video, in its metadata and in its manifest

# IPTC's term for a photo that a trained network animates: neither a recording nor made from nothing.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
MANIFEST = {
    "title": "Talking portrait",
    "claim_generator_info": [{"name": SOFTWARE, "version": VERSION}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "created": True,  # said by the signer, not taken over from someone else
            "data": {
                "allActionsIncluded": True,
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": SOURCE_TYPE,
                        "softwareAgent": {"name": SOFTWARE, "version": VERSION},
                        "description": "A face in a photo, animated by neural networks to speak.",
                    }
                ],
            },
        }
    ],
}
# Nothing is ever fetched: no manifests from elsewhere, no revocation lists, no trust lists.
SETTINGS = {
    "version": 1,
    # Above so many megabytes the copy in the making is in a temporary file instead of in memory.
    "core": {"allowed_network_hosts": [], "backing_store_memory_threshold_in_mb": 16},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False},
}

KEPT = "content_credentials.pem"  # the signer's key and certificate, and the authority's certificate
AUTHORITY = "authority.pem"  # the authority's certificate alone, for those who are to trust it
ISSUER_NAME, SIGNER_NAME = "SPACE local authority", "SPACE local signer"
# Long, since without a timestamp authority a signature is valid only as long as its certificate.
YEARS = 10
# What the signer may sign: C2PA claims; and e-mail, since validators made before that purpose existed ask for it.
PURPOSES = ("1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.4")


class ContentCredentials:
    """Signs videos with a certificate made on this machine; may be used by several threads.

    Such a signature proves that a video wasn't changed since, and says how it was made. It names nobody: viewers show
    the signer as unknown unless they are told to trust ``authority.pem``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Makes a key and its certificates, or takes those kept in a folder.

        Args:
            folder: where they are kept from one run to the next. It is created if its parent exists; what is in it
                already is used as it is and never replaced. None: they are made anew and only in memory.

        Raises:
            SpaceError: the package c2pa-python is missing, the folder can't be used, or what is in it is damaged.
        """
        try:
            import c2pa  # noqa: F401
            import cryptography  # noqa: F401
        except (ImportError, OSError, RuntimeError):  # the last two: its library doesn't fit this machine
            raise SpaceError(
                "Content Credentials need the package c2pa-python. Install it, or go on without them."
            ) from None
        pem = _new_credentials() if folder is None else _kept_credentials(Path(folder))
        self._key, *chain = _checked(pem, folder)
        self._chain = b"".join(chain)

    def sign(self, source: Path, target: Path) -> None:
        """Writes a copy of an MP4 that carries the signed manifest.

        Args:
            source: the MP4.
            target: the file to write; an existing one is replaced. When signing fails it is removed.

        Raises:
            SpaceError: the video can't be read or is none, or the copy can't be written.
        """
        import c2pa

        try:
            no_timestamp_authority = None
            info = c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, self._chain, self._key, no_timestamp_authority)
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Context.from_dict(SETTINGS) as context,
                c2pa.Builder(MANIFEST, context) as builder,
                Path(source).open("rb") as video,
                Path(target).open("w+b") as signed,
            ):
                builder.sign(signer, "video/mp4", video, signed)
        except BaseException as failure:
            Path(target).unlink(missing_ok=True)
            if isinstance(failure, c2pa.C2paError | OSError):
                raise SpaceError(
                    "The video could not be signed. Check the disk, or go on without Content Credentials."
                ) from None
            raise


def _new_credentials() -> bytes:
    """PEM: a private key, its certificate, and the certificate of the authority that issued it.

    The authority's own key is forgotten right away, so whoever trusts the authority trusts this one signer.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name(ISSUER_NAME), _name(SIGNER_NAME)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    purposes = x509.ExtendedKeyUsage([x509.ObjectIdentifier(purpose) for purpose in PURPOSES])
    authority = (
        _certificate(issuer, issuer, issuer_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    certificate = (
        _certificate(subject, issuer, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return b"".join(_written(key, certificate, authority))


def _written(
    key: "EllipticCurvePrivateKey", certificate: "Certificate", authority: "Certificate"
) -> tuple[bytes, bytes, bytes]:
    """Each in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, certificate.public_bytes(Encoding.PEM), authority.public_bytes(Encoding.PEM)


def _name(common_name: str) -> "Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = {NameOID.ORGANIZATION_NAME: "SPACE, self-issued", NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _certificate(subject: "Name", issuer: "Name", key: "EllipticCurvePrivateKey") -> "CertificateBuilder":
    """What both certificates have, valid from a day ago: clocks differ."""
    from cryptography import x509

    begin = datetime.now(UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*uses: str) -> "KeyUsage":
    from cryptography import x509

    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    every += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{use: use in uses for use in every})


def _kept_credentials(folder: Path) -> bytes:
    """What is kept in a folder; made and put there if nothing is."""
    kept = folder / KEPT
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not kept.exists():
            _put(kept, _new_credentials(), mode=0o600)
            # Whoever came first, the two files belong together.
            _put(folder / AUTHORITY, _last_block(kept.read_bytes()), mode=0o644)
        return kept.read_bytes()
    except FileNotFoundError:
        raise SpaceError(f"There is no folder to make {shown_name(folder)} in. Create it or choose another.") from None
    except (OSError, ValueError):  # ValueError: a zero byte inside the path
        raise SpaceError(
            f"Content Credentials can't be kept in {shown_name(folder)}. Choose a folder that you can read and write."
        ) from None


def _put(path: Path, content: bytes, mode: int) -> None:
    """Writes a file that appears whole, unless there is one already."""
    unfinished = temporary_sibling(path)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        os.link(unfinished, path)  # unlike a rename, it fails where another process was quicker
    except FileExistsError:
        return
    finally:
        unfinished.unlink(missing_ok=True)


def _last_block(pem: bytes) -> bytes:
    return pem[max(pem.rfind(b"-----BEGIN"), 0) :]


def _checked(pem: bytes, folder: Path | None) -> tuple[bytes, bytes, bytes]:
    """The key, its certificate and its authority's, each in PEM, which belong together and are valid now."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(pem, password=None)
        certificate, authority = x509.load_pem_x509_certificates(pem)
        certificate.verify_directly_issued_by(authority)
        if key.public_key() != certificate.public_key():
            raise ValueError("The key is not the certificate's.")
    except (ValueError, TypeError, InvalidSignature):
        raise SpaceError(
            f"{KEPT} in {shown_name(folder)} is damaged. Put a whole copy there, or choose an empty folder."
        ) from None
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise SpaceError(f"The certificate in {shown_name(folder)} has expired. Choose an empty folder for a new one.")
    return _written(key, certificate, authority)
