"""A company with an authority of its own, as marl knows none."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat


class Company:
    """An authority as an administrator would run one: ordinary names, both usages in every certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = Ed25519PrivateKey.generate()
        self.authority = folder / "ca.pem"
        self.certificate = self._build("Company", self.key.public_key(), ())
        self.authority.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(self, *names: str, password: bytes | None = None) -> dict[str, Path]:
        private = Ed25519PrivateKey.generate()
        stem = names[0] if names else "nameless"
        files = {"certificate": self.folder / f"{stem}.pem", "key": self.folder / f"{stem}.key"}
        files["certificate"].write_bytes(self._build(stem, private.public_key(), names).public_bytes(Encoding.PEM))
        hidden = BestAvailableEncryption(password) if password else NoEncryption()
        files["key"].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
        return {**files, "authority": self.authority}

    def _build(self, subject: str, public, names: tuple[str, ...]) -> x509.Certificate:
        def name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        now, leaf = datetime.now(UTC), public != self.key.public_key()
        unused = dict.fromkeys(["content_commitment", "key_encipherment", "data_encipherment", "key_agreement"], False)
        unused |= {"encipher_only": False, "decipher_only": False}
        builder = (
            x509.CertificateBuilder(name("Company"), name(subject), public, x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(not leaf, None), True)
            .add_extension(
                x509.KeyUsage(digital_signature=leaf, key_cert_sign=not leaf, crl_sign=not leaf, **unused), True
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        )
        if leaf:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
        return builder.sign(self.key, None)
