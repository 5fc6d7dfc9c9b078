"""Targets that are files, and texts that people hand to each other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from home import configuration as home_configuration
from home.p1 import Splitter, TelegramError
from home.p1 import parse as parse_telegram
from home.reading_queue import QueueDamaged, ReadingQueue
from ledger.encoding import encode
from ledger.keys import AddressError, address_text, parse_address
from node.client.events import decode_event
from node.client.models import StateProof
from node.configuration import Configuration, ConfigurationError, parse, render, with_environment
from node.founding import GENESIS_NAME, FoundingError, read_genesis
from node.key_files import KeyFileError, load_seed
from node.keystore import CHEAP, Keystore
from node.mempool_file import MempoolFile
from node.views.proofs import ProofWrong, check_account_proof, prove_account
from node.views.reader import Reader
from p2p.addresses import parse_peer_address
from p2p.limits import Limits
from p2p.network import NetworkError
from p2p.peer_book import PeerBook
from p2p.peer_identity import peer_id_from_public_key
from tests.fuzz.mutation import any_bytes, any_cbor, any_text
from tests.fuzz.target import ACCEPTED, Feed, Target
from tests.home.telegrams import KAIFA, SAGEMCOM, telegram
from tests.node.api.household import household
from tests.support.chain import make_genesis, make_home

SCRATCH: Final = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
PEER: Final = peer_id_from_public_key(bytes(range(32)))


def _in_a_file(name: str, take: Callable[[Path], str]) -> Feed:
    """Feeds ``take`` with a file that holds the input, in a directory of this process."""
    directory = tempfile.TemporaryDirectory(dir=SCRATCH)

    def feed(data: bytes, directory: tempfile.TemporaryDirectory[str] = directory) -> str:
        for left in Path(directory.name).iterdir():
            left.unlink()
        path = Path(directory.name) / name
        path.write_bytes(data)
        path.chmod(0o600)
        return take(path)

    return feed


def _configuration() -> tuple[Sequence[bytes], Feed]:
    golden = [
        render(Configuration()).encode(),
        f'[network]\nbootstrap = ["/ip4/192.0.2.1/tcp/4001/p2p/{PEER}"]\n[node]\nhalt_height = 5\n'.encode(),
        b'[api]\nhost = "::1"\nport = 0\n[log]\nlevel = "debug"\njson = true\n',
    ]

    def feed(data: bytes) -> str:
        try:
            configuration = parse(data.decode("utf-8", "replace"))
        except ConfigurationError:
            return "ConfigurationError"
        assert parse(render(configuration)) == configuration
        return ACCEPTED

    return golden, feed


def _environment() -> tuple[Sequence[bytes], Feed]:
    golden = [
        f"ECLOUD_NETWORK_BOOTSTRAP=/ip4/192.0.2.1/tcp/4001/p2p/{PEER}\nECLOUD_API_PORT=5\n".encode(),
        b"ECLOUD_LOG_JSON=true\nECLOUD_NODE_CLOCK_SKEW_MS=-5\nECLOUD_API_HOST=localhost\n",
    ]

    def feed(data: bytes) -> str:
        environment = {}
        for line in data.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            environment[name] = value
        try:
            configuration = with_environment(Configuration(), environment)
        except ConfigurationError:
            return "ConfigurationError"
        assert parse(render(configuration)) == configuration
        return ACCEPTED

    return golden, feed


def _genesis() -> tuple[Sequence[bytes], Feed]:
    def take(path: Path) -> str:
        document = path.read_bytes()
        try:
            _, genesis = read_genesis(path.parent)
        except FoundingError as error:
            return type(error).__name__
        assert encode(genesis) == document
        return ACCEPTED

    return [encode(make_genesis())], _in_a_file(GENESIS_NAME, take)


def _mempool_file() -> tuple[Sequence[bytes], Feed]:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        written = MempoolFile(Path(directory) / "mempool.log")
        written.append([b"one", bytes(300), b""])
        written.close()
        golden = [written.path.read_bytes()]

    def take(path: Path) -> str:
        found = MempoolFile(path).load()
        again = MempoolFile(path)
        assert again.load() == found
        again.append([b"more"])
        again.close()
        assert MempoolFile(path).load() == [*found, b"more"]
        return f"{len(found)} records" if len(found) < 4 else "more records"

    return golden, _in_a_file("mempool.log", take)


def _peer_book() -> tuple[Sequence[bytes], Feed]:
    def book(path: Path) -> PeerBook:
        return PeerBook(Limits(), lambda: 0.0, lambda: 1_000, path)

    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        written = book(Path(directory) / "peers.cbor")
        written.ban(PEER, 60, "because")
        other = peer_id_from_public_key(bytes(32))
        written.remember(other, f"/ip4/192.0.2.1/tcp/4001/p2p/{other}")
        written.save()
        golden = [(Path(directory) / "peers.cbor").read_bytes()]

    def take(path: Path) -> str:
        read = book(path)
        for addresses in read.remembered().values():
            for address in addresses:
                with suppress(NetworkError):
                    parse_peer_address(address)
        read.banned(PEER)
        read.score(PEER)
        read.ban(PEER, 60, "because")
        read.save()
        assert book(path).banned(PEER) is not None
        return "unreadable" if read.counters["peer_book_unreadable"] else ACCEPTED

    return golden, _in_a_file("peers.cbor", take)


def _home_configuration() -> tuple[Sequence[bytes], Feed]:
    golden = [
        home_configuration.render(home_configuration.Configuration()).encode(),
        b"[meter]\nsource = 'p1'\n[p1]\ncable = 'tcp:[::1]:23'\nbaud = 9600\n[autopilot]\nhours = '0-5,9'\n",
        b"[mqtt]\nlisten = '0.0.0.0:1883'\nuser = 'a'\npassword_file = 'b'\n[autopilot]\nmax_buy_price = '0.25'\n",
    ]

    def feed(data: bytes) -> str:
        try:
            configuration = home_configuration.parse(data.decode("utf-8", "replace"))
        except ConfigurationError:
            return "ConfigurationError"
        assert home_configuration.parse(home_configuration.render(configuration)) == configuration
        home_configuration.limits_of(configuration)
        return ACCEPTED

    return golden, feed


def _telegrams() -> tuple[Sequence[bytes], Feed]:
    """A stream of them, in two pieces."""
    golden = [KAIFA, SAGEMCOM, telegram(1_234, 5, 1_790_000_000_000) + KAIFA, b"noise\r\n" + KAIFA[:90] + SAGEMCOM]

    def feed(data: bytes) -> str:
        splitter, outcome = Splitter(), "none"
        pieces = [*splitter.feed(data[: len(data) // 2]), *splitter.feed(data[len(data) // 2 :]), *splitter.close()]
        for piece in pieces:
            if isinstance(piece, TelegramError):
                outcome = piece.word
                continue
            try:
                found = parse_telegram(piece)
            except TelegramError as error:
                outcome = error.word
            else:
                assert found.raw == piece
                assert found.raw in data
                return ACCEPTED
        return outcome

    return golden, feed


def _reading_queue() -> tuple[Sequence[bytes], Feed]:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        path = Path(directory) / "queue"
        with ReadingQueue(path) as queue:
            for period in (5, 6, 9):
                queue.take(period, bytes([period]) * 9)
            queue.settle(5, accepted=True)
        golden = [path.read_bytes()]

    def take(path: Path) -> str:
        try:
            with ReadingQueue(path) as queue:
                waiting = len(queue)
                queue.take(1 + (queue.last_period or 0), b"one more")
        except QueueDamaged:
            return "QueueDamaged"
        with ReadingQueue(path) as queue:
            assert len(queue) == waiting + 1
        return ACCEPTED

    return golden, _in_a_file("queue", take)


def _seed_file() -> tuple[Sequence[bytes], Feed]:
    def take(path: Path) -> str:
        try:
            assert len(load_seed(path)) == 32
        except KeyFileError as error:
            return type(error).__name__
        return ACCEPTED

    return [b"0f" * 32 + b"\n", b"AB" * 32], _in_a_file("node.key", take)


def _wallet_file() -> tuple[Sequence[bytes], Feed]:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        Keystore(Path(directory)).create("anne", "password", CHEAP)
        (path,) = Path(directory).iterdir()
        golden, name = [path.read_bytes()], path.name

    def take(path: Path) -> str:
        keystore = Keystore(path.parent)
        try:
            keystore.show("anne")
        except KeyFileError as error:
            return type(error).__name__
        return ACCEPTED

    return golden, _in_a_file(name, take)


def _proof_file() -> tuple[Sequence[bytes], Feed]:
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory, household(Path(directory)) as home:
        home.produce()
        home.produce()
        with home.chain.snapshot() as view:
            reader = Reader(view, home)
            proof = prove_account(reader, make_home("anne").id)
            absent = prove_account(reader, bytes(32))
            trusted = reader.committee_snapshot(reader.height)
    from consensus.committee import Committee

    trusted_hash = Committee(trusted).hash.hex()
    golden = [msgspec.json.format(msgspec.json.encode(one), indent=1) for one in (proof, absent)]
    shown = {check_account_proof(one, trusted_hash).record for one in (proof, absent)}

    def feed(data: bytes) -> str:
        try:
            proven = check_account_proof(msgspec.json.decode(data, type=StateProof), trusted_hash)
        except (msgspec.DecodeError, UnicodeDecodeError, ProofWrong) as error:
            return type(error).__name__
        assert proven.record in shown or proven.record is None, "a proof was forged"
        return ACCEPTED

    return golden, feed


def _events() -> tuple[Sequence[bytes], Feed]:
    golden = [
        b'{"type":"transaction_pending","id":"00","kind":"transfer","sender":{"address":"ec","name":null}}',
        b'{"type":"missed","from_height":1,"up_to_height":2}',
        b'{"type":"a new one"}',
    ]

    def feed(data: bytes) -> str:
        try:
            event = decode_event(data.decode("utf-8", "replace"))  # as an event stream is read
        except msgspec.DecodeError as error:
            return type(error).__name__
        return "unknown" if event is None else ACCEPTED

    return golden, feed


def _account_addresses() -> tuple[Sequence[bytes], Feed]:
    def feed(data: bytes) -> str:
        text = data.decode("utf-8", "replace")
        try:
            key = parse_address(text)
        except AddressError:
            return "AddressError"
        assert address_text(key) == text, "an account has one address"
        return ACCEPTED

    return [address_text(make_home(name).id).encode() for name in ("anne", "bob")], feed


TARGETS: Final = (
    Target("configuration", any_text, _configuration),
    Target("environment", any_text, _environment),
    Target("genesis", any_cbor, _genesis),
    Target("mempool-file", any_bytes, _mempool_file),
    Target("peer-book", any_cbor, _peer_book),
    Target("reading-queue", any_bytes, _reading_queue),
    Target("home-configuration", any_text, _home_configuration),
    Target("telegrams", any_bytes, _telegrams),
    Target("seed-file", any_text, _seed_file),
    Target("wallet-file", any_text, _wallet_file),
    Target("proof-file", any_text, _proof_file),
    Target("events", any_text, _events),
    Target("account-addresses", any_text, _account_addresses),
)
