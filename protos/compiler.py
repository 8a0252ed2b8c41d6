"""What protoc makes of the contracts: a descriptor set with comments, and Python code.

Nothing here needs a network. The googleapis contracts come with the googleapis-common-protos
wheel. ``buf/validate/validate.proto`` is in no wheel as text; protovalidate's wheel holds its
descriptor, which protoc takes in place of the text.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf import descriptor_pb2
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"

_SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
_SCRIPTS = Path(sysconfig.get_path("scripts"))

_RULES_FILE = "buf/validate/validate.proto"
# Never imported by a contract, but packed into every Status.details: Envoy transcodes an error's
# details only if it knows their types.
_ERROR_DETAILS_FILE = "google/rpc/error_details.proto"

_PACKAGE_DOCSTRING = '"""Generated from protos/ by `make generate`."""\n'


def contract_files(protos: Path = PROTOS) -> list[str]:
    """Returns our own proto files, relative to ``protos``, sorted."""
    return sorted(path.relative_to(protos).as_posix() for path in protos.rglob("*.proto"))


def compile_image(protos: Path = PROTOS) -> descriptor_pb2.FileDescriptorSet:
    """Returns every contract under ``protos`` with its comments, and everything imported.

    Raises:
        subprocess.CalledProcessError: A contract does not compile; protoc has said why on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "image.binpb"
        _protoc(
            protos,
            "--include_imports",
            "--include_source_info",
            f"--descriptor_set_out={target}",
            *contract_files(protos),
            _ERROR_DETAILS_FILE,
        )
        return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())


def without_comments(image: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """Returns a copy of the descriptor set that holds types only, as Envoy needs them."""
    stripped = descriptor_pb2.FileDescriptorSet()
    stripped.CopyFrom(image)
    for file in stripped.file:
        file.ClearField("source_code_info")
    return stripped


def write_python(output: Path, protos: Path = PROTOS) -> None:
    """Writes messages, their types, gRPC code and its types below ``output``.

    The rules' own module is written too: our modules import ``buf.validate``, which no wheel has.
    """
    plugin = _SCRIPTS / "protoc-gen-mypy_grpc"
    messages = (f"--python_out={output}", f"--pyi_out={output}")
    _protoc(protos, *messages, _RULES_FILE, *contract_files(protos))
    _protoc(
        protos,
        f"--plugin=protoc-gen-mypy_grpc={plugin}",
        f"--grpc_python_out={output}",
        # Concrete, so that a fake of a peer may implement only the methods that a test calls.
        f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{output}",
        *_service_files(protos),
    )
    # Tools that follow imports see a folder inside a package only if it is a package itself.
    api = output / "agent_executor" / "api"
    for folder in (api, *(path for path in api.rglob("*") if path.is_dir())):
        (folder / "__init__.py").write_text(_PACKAGE_DOCSTRING, encoding="utf-8")


def _service_files(protos: Path) -> list[str]:
    """Returns the files that define a service: only these get gRPC code."""
    return [name for name in contract_files(protos) if name.endswith("_service.proto")]


def _protoc(protos: Path, *arguments: str) -> None:
    with _rules_descriptor() as rules:
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc"),
                f"--descriptor_set_in={rules}",
                f"--proto_path={protos}",
                f"--proto_path={_SITE_PACKAGES}",
                *arguments,
            ],
            check=True,
        )


@contextmanager
def _rules_descriptor() -> Iterator[Path]:
    """Yields a file with the descriptor of the validation rules, as protoc reads it."""
    descriptors = descriptor_pb2.FileDescriptorSet()
    descriptors.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.binpb"
        path.write_bytes(descriptors.SerializeToString(deterministic=True))
        yield path
