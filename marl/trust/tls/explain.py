"""Why TLS refused, in one line that names the cause and what to do: OpenSSL's own words help nobody."""

import re
import ssl
from typing import NamedTuple

from marl.errors import MarlError
from marl.trust.tls.certificates import Role

_SAME_CLUSTER = "copy this cluster's key file to both machines, or run marl invite NAME on the parent"
_RENEW = {
    "child": "run marl invite NAME on the parent and start the child with the new ticket",
    "parent": "restart the parent, or renew the certificate after --cert",
}
_CLOCK = "set the clocks of both machines"


class Refusal(NamedTuple):
    """What a person is told, and whether another try could end otherwise."""

    line: str
    permanent: bool


def explain(error: BaseException, *, here: Role, peer: str) -> Refusal:
    """Say what failed between this side and ``peer`` while they checked each other.

    Args:
        error: as caught; the TLS error may be its cause or context, as libraries wrap it.
        here: the side that caught it. Of a refusal by the other side TLS tells only a word.
        peer: address, or name and address, of the other side.
    """
    there: Role = "child" if here == "parent" else "parent"
    for each in _chain(error):
        if isinstance(each, MarlError):
            return Refusal(f"{peer}: {each}", permanent=True)
        if isinstance(each, ssl.SSLCertVerificationError):
            return Refusal(f"{peer}: {_by_us(each, here, there)}", permanent=True)
        if isinstance(each, ssl.SSLEOFError):
            break
        if isinstance(each, ssl.SSLError):
            line, permanent = _by_them(each.reason or "", here, there)
            return Refusal(f"{peer}: {line}", permanent)
    return Refusal(
        f"{peer}: expected a TLS handshake, got a closed connection: see what the {there} says, "
        f"and that the address and port are the {there}'s",
        permanent=False,
    )


def _by_us(error: ssl.SSLCertVerificationError, here: Role, there: Role) -> str:
    """This side has refused the other's certificate."""
    expected = f"expected a {there}'s certificate"
    match error.verify_code:
        case 10:
            return f"{expected} that is valid today, got one that has expired: {_RENEW[there]}, or {_CLOCK}"
        case 9:
            return f"{expected} that is valid today, got one that begins later: {_CLOCK}"
        case 26:
            return (
                f"{expected}, got one made for a {here}: a ticket lets a machine be a child only, "
                "and a parent needs the cluster's key file"
            )
        case 62 | 64:
            return (
                "expected a certificate with this cluster's name, got one with another: "
                f"{_SAME_CLUSTER}; with your own authority, check --server-name"
            )
        case 79 | 24 | 25 | 32:  # an authority that is none, or a longer path, or a usage that does not sign
            return (
                f"{expected} signed by the cluster's key, got one signed by another node: "
                "no node can admit others; use marl invite NAME on the parent"
            )
        case 2 | 7 | 18 | 19 | 20 | 21 | 30:  # unknown issuer, in the ways OpenSSL meets it
            return f"{expected} of this cluster, got one of another (or of a key since replaced): {_SAME_CLUSTER}"
        case code:
            return f"{expected}, got one refused by strict checks ({error.verify_message}, {code}): make a new one"


# What OpenSSL says of bytes that never were TLS.
_NOT_TLS = {
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "BAD_RECORD_TYPE",
    "UNEXPECTED_MESSAGE",
}


def _by_them(reason: str, here: Role, there: Role) -> Refusal:
    """The other side has refused ours, sent none, or does not speak TLS 1.3."""
    alert = re.sub(r"^(SSLV3|TLSV1|TLSV13)_ALERT_", "", reason)
    if line := _by_alert(alert, here, there):
        return Refusal(line, permanent=True)
    line = (
        f"expected TLS from a {there}, got something else: check address and port, that it is a marl {there}, "
        "and that both sides or none run with --insecure"
    )
    # What is not known may be a bit flipped on the way.
    return Refusal(line, permanent=alert in _NOT_TLS)


def _by_alert(alert: str, here: Role, there: Role) -> str | None:
    """What an alert (RFC 8446, 6.2) of the other side means here, if it is one about certificates or versions."""
    ours = f"expected the {there} to accept this {here}'s certificate"
    match alert:
        case "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return f"expected a {there}'s certificate, got none: {_SAME_CLUSTER}"
        case "CERTIFICATE_REQUIRED":
            return f"{ours}, got a refusal because none was sent: {_SAME_CLUSTER}"
        case "CERTIFICATE_EXPIRED":
            return f"{ours}, got a refusal because it has expired: {_RENEW[here]}, or {_CLOCK}"
        case "UNKNOWN_CA" | "DECRYPT_ERROR":
            return f"{ours}, got a refusal because it is of another cluster: {_SAME_CLUSTER}"
        case "UNSUPPORTED_CERTIFICATE":
            return (
                f"{ours}, got a refusal because it was made for a {there}: a ticket lets a machine be a child only, "
                "and a parent needs the cluster's key file"
            )
        case "BAD_CERTIFICATE":
            return (
                f"{ours}, got a refusal because it carries another cluster's name, or begins later than the other "
                f"clock: {_SAME_CLUSTER}, and {_CLOCK}; with your own authority, check --server-name"
            )
        case "CERTIFICATE_UNKNOWN" | "CERTIFICATE_REVOKED" | "ACCESS_DENIED":
            return f"{ours}, got a refusal: see what the {there} says, and run marl invite NAME on the parent"
        case "UNSUPPORTED_PROTOCOL" | "PROTOCOL_VERSION" | "VERSION_TOO_LOW":
            return "expected TLS 1.3, got an older version: update Python and OpenSSL there, or the device in between"
        case _:
            return None


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = each.__cause__ or each.__context__
    return found
