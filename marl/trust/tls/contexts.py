"""TLS as every link uses it: version 1.3, certificates on both sides, nothing resumed."""

import os
import secrets
import ssl
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from marl.errors import CertificateError
from marl.trust.identity import Identity, OwnFiles
from marl.trust.secret import Secret
from marl.trust.tls.certificates import Leaf


def server_context(identity: Identity) -> ssl.SSLContext:
    """For a child: it accepts parents only, and none without a certificate.

    Raises:
        CertificateError: the owner's certificate, key or authority cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a recorded session cannot be resumed
    return _fill(context, identity)


def client_context(identity: Identity) -> ssl.SSLContext:
    """For a parent: it talks to children of its cluster only.

    Connect with ``server_hostname`` set to the identity's server name, or to the address where that is None.

    Raises:
        CertificateError: the owner's certificate, key or authority cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # check_hostname is on
    context.hostname_checks_common_name = False
    return _fill(context, identity)


def _fill(context: ssl.SSLContext, identity: Identity) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=identity.bundle)
    except (ssl.SSLError, ValueError) as error:  # ValueError: nothing in it
        raise CertificateError(
            f"expected an authority's certificates in PEM, got {_reason(error)}: check the file after --ca"
        ) from error
    if isinstance(identity.shows, OwnFiles):
        _load_files(context, identity.shows)
    else:
        load_leaf(context, identity.shows)
    return context


def load_leaf(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Give ``context`` a certificate from memory: OpenSSL reads only files, and none may stay behind.

    Raises:
        CertificateError: there is no place for the file.
    """
    try:
        if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
            descriptor = os.memfd_create("leaf")
            with open(descriptor, "wb", buffering=0) as file:
                file.write(leaf.key.reveal() + leaf.certificate)
                context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        else:
            _load_from_disk(context, leaf)
    except OSError as error:
        raise CertificateError(
            f"expected to load this node's certificate, got {error.strerror or error}: check the temporary folder"
        ) from error


def _load_from_disk(context: ssl.SSLContext, leaf: Leaf) -> None:
    """Encrypted with a password that only this call knows, so that a crash leaves nothing of use."""
    password = Secret(secrets.token_hex(32).encode())
    encryption = BestAvailableEncryption(password.reveal())
    key = load_pem_private_key(leaf.key.reveal(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    descriptor, name = tempfile.mkstemp(prefix="marl-")  # 0600
    try:
        with open(descriptor, "wb") as file:  # closed before OpenSSL opens it: Windows wants it so
            file.write(key + leaf.certificate)
        context.load_cert_chain(name, password=password.reveal())
    finally:
        Path(name).unlink()


def _load_files(context: ssl.SSLContext, files: OwnFiles) -> None:
    for option, path in (("--cert", files.certificate), ("--key", files.key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise CertificateError(
                f"expected to read {path}, got {error.strerror or error}: name a PEM file after {option}"
            ) from error
    try:
        # Without a password of ours, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"expected {files.certificate} and its unencrypted key {files.key}, got {_reason(error)}: "
            "check --cert and --key"
        ) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else "a text that is no PEM"
