"""Content Credentials: a signed C2PA manifest inside an MP4 that states that the video is generated."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from space_core.errors import ServerFault, SpaceError
from space_core.media.files import disk_full, hidden_sibling, is_disk_full, shown_name
from space_core.version import __version__

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, KeyUsage, Name

SOFTWARE, VERSION = "SPACE", __version__  # named in the metadata and in the manifest of every video

# IPTC's term for a composite of a photo and the output of a trained network.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
MANIFEST = {
    "title": "Talking portrait",
    "claim_generator_info": [{"name": SOFTWARE, "version": VERSION}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "created": True,  # asserted by the signer, not gathered from another source
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
# No network access: no remote manifests, revocation lists or trust lists.
SETTINGS = {
    "version": 1,
    # Larger signed copies are written to a temporary file instead of memory.
    "core": {"allowed_network_hosts": [], "backing_store_memory_threshold_in_mb": 16},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False},
}

CREDENTIALS_FILE = "content_credentials.pem"  # the signer's key and certificate, and the authority's certificate
AUTHORITY_FILE = "authority.pem"  # the authority's certificate alone, to be imported as a trust anchor
ISSUER_NAME, SIGNER_NAME = "SPACE local authority", "SPACE local signer"
# Long, since without a timestamp authority a signature is valid only as long as its certificate.
VALID_YEARS = 10
SPARE_BYTES = 1 << 20  # a disk with less room than this counts as full where signing fails
# Extended key usage: C2PA claim signing; and e-mail protection, which validators older than that usage require.
EXTENDED_KEY_USAGES = ("1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.4")


# In PEM: the signer's private key, the signer's certificate, the authority's certificate.
PemCredentials = tuple[bytes, bytes, bytes]


class ContentCredentials:
    """Signs videos with a certificate that is issued on this machine; thread-safe.

    The signature proves that a video was not changed since it was signed, and the manifest states how it was made. The
    certificate names no person: viewers show the signer as unknown unless they trust ``authority.pem``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Creates a key and its certificates, or loads those stored in a folder.

        Args:
            folder: where they are stored. It is created if its parent exists; stored credentials are used and never
                replaced. None: they are created in memory only.

        Raises:
            SpaceError: the package c2pa-python or cryptography is missing, the folder can't be used, or its
                credentials are damaged or expired.
        """
        try:
            import c2pa  # noqa: F401
            import cryptography  # noqa: F401
        except (ImportError, OSError, RuntimeError):  # the last two: its native library can't be loaded
            raise SpaceError(
                "Content Credentials need the packages c2pa-python and cryptography. "
                "Install these, or continue without credentials."
            ) from None
        self._key, *chain = _new_credentials() if folder is None else _stored_credentials(Path(folder))
        self._chain = b"".join(chain)

    def sign(self, source: Path, target: Path) -> None:
        """Writes a copy of an MP4 with the signed manifest.

        Args:
            source: the MP4.
            target: the file to write; an existing one is replaced. It is removed if signing fails.

        Raises:
            ServerFault: the source can't be read or is not an MP4, or the copy can't be written.
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
            # c2pa does not always say that it is.
            is_full = isinstance(failure, c2pa.C2paError) and disk_usage(Path(target).parent).free < SPARE_BYTES
            Path(target).unlink(missing_ok=True)
            if is_full or (isinstance(failure, OSError) and is_disk_full(failure)) or "No space left" in str(failure):
                raise disk_full() from failure
            if isinstance(failure, c2pa.C2paError | OSError):
                raise ServerFault("The video could not be signed. Try again.", "internal") from failure
            raise


def _new_credentials() -> PemCredentials:
    """A private key, its certificate, and the certificate of the authority that issued it.

    The authority's own key is not stored, so trust in the authority is trust in this signer alone.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    issuer_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name(ISSUER_NAME), _name(SIGNER_NAME)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    extended_usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in EXTENDED_KEY_USAGES])
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
        .add_extension(extended_usage, critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _as_pem(key, certificate, authority)


def _as_pem(key: "EllipticCurvePrivateKey", certificate: "Certificate", authority: "Certificate") -> PemCredentials:
    """The key (PKCS #8, not encrypted) and the two certificates, each in PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, certificate.public_bytes(Encoding.PEM), authority.public_bytes(Encoding.PEM)


def _name(common_name: str) -> "Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = {NameOID.ORGANIZATION_NAME: "SPACE, self-issued", NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _certificate(subject: "Name", issuer: "Name", key: "EllipticCurvePrivateKey") -> "CertificateBuilder":
    """The fields that both certificates have; valid from one day ago, since clocks differ."""
    from cryptography import x509

    begin = datetime.now(UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * VALID_YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*uses: str) -> "KeyUsage":
    from cryptography import x509

    every = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
    every += "crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{use: use in uses for use in every.split()})


def _stored_credentials(folder: Path) -> PemCredentials:
    """The credentials stored in a folder; created and stored there if the folder has none."""
    stored = folder / CREDENTIALS_FILE
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not stored.exists():
            _write_once(stored, b"".join(_new_credentials()), mode=0o600)
            # Read back: another process may have written its credentials first.
            _write_once(folder / AUTHORITY_FILE, _last_block(stored.read_bytes()), mode=0o644)
        pem = stored.read_bytes()
    except FileNotFoundError:
        raise SpaceError(f"There is no folder to make {shown_name(folder)} in. Create it or choose another.") from None
    except (OSError, ValueError):  # ValueError: a zero byte inside the path
        raise SpaceError(
            f"Content Credentials can't be kept in {shown_name(folder)}. Choose a folder that you can read and write."
        ) from None
    return _verified(pem, folder)


def _write_once(path: Path, content: bytes, mode: int) -> None:
    """Writes a file atomically, unless it exists already."""
    unfinished = hidden_sibling(path)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        os.link(unfinished, path)  # unlike a rename, fails if another process has created the file
    except FileExistsError:
        return
    finally:
        unfinished.unlink(missing_ok=True)


def _last_block(pem: bytes) -> bytes:
    """The last of several concatenated PEM blocks."""
    return pem[max(pem.rfind(b"-----BEGIN"), 0) :]


def _verified(pem: bytes, folder: Path) -> PemCredentials:
    """The credentials in ``pem``, which must match each other and be valid now."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    try:
        key = serialization.load_pem_private_key(pem, password=None)
        certificate, authority = x509.load_pem_x509_certificates(pem)
        certificate.verify_directly_issued_by(authority)
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("The key does not match the certificate.")
    except (ValueError, TypeError, InvalidSignature):
        raise SpaceError(
            f"{CREDENTIALS_FILE} in {shown_name(folder)} is damaged. Restore a copy, or choose an empty folder."
        ) from None
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        raise SpaceError(f"The certificate in {shown_name(folder)} has expired. Choose an empty folder for a new one.")
    return _as_pem(key, certificate, authority)
