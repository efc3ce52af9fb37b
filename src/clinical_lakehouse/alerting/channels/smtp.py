"""Mail by SMTP (RFC 5321), one recipient a message, over TLS."""

import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from clinical_lakehouse.alerting.channels.envelope import (
    Envelope,
    Outcome,
    accepted,
    failed_for_good,
    failed_for_now,
    is_mail_address,
    one_line,
)

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True)
class Smtp:
    """A mail server. `security` is starttls, tls, or none (this machine only)."""

    host: str
    port: int
    sender: str
    security: str = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_seconds: float = 20.0
    ca_file: str | None = None

    def send(self, envelope: Envelope, now: datetime) -> Outcome:
        """Try once; the Message-ID is made from the key, so a repetition is the same message."""
        if self.security == "none" and self.host not in _LOOPBACK:
            return failed_for_good("mail must go over TLS", is_channel_fault=True)
        if not is_mail_address(envelope.recipient):  # smtplib would send to what looks like one
            return failed_for_good("the recipient is not a mail address")
        content = mail(envelope, self.sender, now).as_bytes()
        try:
            with self._session() as session:
                return self._handed_over(session, envelope, content)
        except smtplib.SMTPAuthenticationError as error:
            return _by_code(error.smtp_code, "log-in", is_channel_fault=True)
        except smtplib.SMTPNotSupportedError:
            return failed_for_good("the server offers no STARTTLS or log-in", is_channel_fault=True)
        except smtplib.SMTPResponseException as error:
            return _by_code(error.smtp_code, "greeting", is_channel_fault=True)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return failed_for_now(_reason(error))

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        context = ssl.create_default_context(cafile=self.ca_file)
        session: smtplib.SMTP
        if self.security == "tls":
            session = smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout_seconds, context=context
            )
        else:
            session = smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)
        try:
            if self.security == "starttls":
                session.starttls(context=context)
            if self.user and self.password:
                session.login(self.user, self.password)
            yield session
        finally:
            # Whatever the server does with QUIT, its answer to DATA is what counts.
            with suppress(smtplib.SMTPException, OSError):
                session.quit()
            session.close()

    def _handed_over(self, session: smtplib.SMTP, envelope: Envelope, content: bytes) -> Outcome:
        session.ehlo_or_helo_if_needed()
        for code, step in (
            (session.mail(self.sender)[0], "sender"),
            (session.rcpt(envelope.recipient)[0], "recipient"),
        ):
            if not 200 <= code < 300:
                return _by_code(code, step, is_channel_fault=step == "sender" or code == 421)
        code, said = session.data(content)
        if not 200 <= code < 300:
            return _by_code(code, "message", is_channel_fault=code == 421)
        # "250 2.0.0 Ok: queued as 4F1B2C": the last word is the queue's id.
        words = said.decode("ascii", "replace").split()
        return accepted(words[-1] if "queued" in words else _message_id(envelope, self.sender))


def mail(envelope: Envelope, sender: str, now: datetime) -> EmailMessage:
    """The mail: text, HTML with its pictures, and headers that machines know it by."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=76))
    message["From"] = one_line(sender)
    message["To"] = one_line(envelope.recipient)
    message["Subject"] = one_line(envelope.subject)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = _message_id(envelope, sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    if envelope.severity == "critical":
        message["X-Priority"] = "1"
    message.set_content(envelope.text, cte="quoted-printable")
    if envelope.html:
        message.add_alternative(envelope.html, subtype="html", cte="quoted-printable")
        body = message.get_payload()[1]  # type: ignore[index]
        for image in envelope.images:
            body.add_related(  # type: ignore[union-attr]
                image.png, "image", "png", cid=f"<{image.name}>", disposition="inline"
            )
        _fix_boundaries(message, envelope.key)
    return message


def _fix_boundaries(message: EmailMessage, key: str) -> None:
    """The same envelope gives the same bytes; Python would draw boundaries at random."""
    for number, part in enumerate(message.walk()):
        if part.is_multipart():
            part.set_boundary(f"=_{key[:40]}_{number}")


def _message_id(envelope: Envelope, sender: str) -> str:
    return f"<{envelope.key[:64]}@{sender.rpartition('@')[2].strip('> ')}>"


def _by_code(code: int, step: str, *, is_channel_fault: bool) -> Outcome:
    """4xx may go well later, 5xx will not (RFC 5321, 4.2.1)."""
    reason = f"the server refused the {step} ({code})"
    if 500 <= code < 600:
        return failed_for_good(reason, is_channel_fault=is_channel_fault)
    return failed_for_now(reason, is_channel_fault=is_channel_fault)


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return "the server's certificate was refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "the server ended the connection"
    return "the server cannot be reached" if isinstance(error, OSError) else "no SMTP answer"
