"""Weights to and from GGUF: what llama.cpp computes with our files is what we compute, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

import numpy as np  # noqa: E402
from gguf import quants  # noqa: E402

from colosse.core.errors import ConflictError, NotFoundError, UserError  # noqa: E402
from colosse.core.settings import load_settings  # noqa: E402
from colosse.engines.engines import Engines  # noqa: E402
from colosse.engines.gguf import read_gguf  # noqa: E402
from colosse.model.gguf import load_gguf, load_tokenizer, save_gguf  # noqa: E402
from colosse.model.gguf_config import ARCHITECTURES, metadata_of  # noqa: E402
from colosse.model.huggingface import load_hf, save_hf  # noqa: E402
from colosse.model.transformer import Transformer  # noqa: E402
from tests.model.families import (  # noqa: E402
    FAMILIES,
    LLAMA3,
    TEXTS,
    loaded,
    random_model,
    spec_for,
    tiny_tokenizer,
    tokens,
)

pytestmark = pytest.mark.torch

VOCAB = 320
REFUSED = {"qwen3_moe-uneven"}
WRITABLE = [name for name in FAMILIES if name not in REFUSED]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"), VOCAB)


@pytest.mark.parametrize("name", WRITABLE)
@torch.no_grad()
def test_round_trip(name: str, tokenizer_folder: Path, tmp_path: Path) -> None:
    spec = spec_for(name, vocab_size=VOCAB)
    model, path = random_model(spec), tmp_path / "m.gguf"
    architecture = save_gguf(path, spec, model.state_dict(), tokenizer_folder, "float32", name="Tiny")
    assert architecture == ARCHITECTURES[FAMILIES[name][0]]
    info = read_gguf(path)
    assert (info.architecture, info.name, info.file_type) == (architecture, "Tiny", "F32")
    assert (info.vocab_size, info.num_layers, info.head_dim) == (VOCAB, spec.num_layers, spec.head_dim)
    back, state = load_gguf(path)
    if spec.sliding_window:  # not in these architectures: the context ends where the window would begin to matter
        assert (back.max_seq_len, back.sliding_window) == (spec.sliding_window, 0)
    else:
        assert metadata_of(back) == metadata_of(spec)
        ids = tokens(spec)
        torch.testing.assert_close(loaded(back, state)(ids), model(ids), rtol=1e-5, atol=1e-5)
    assert {
        name: bool(torch.equal(state[name], tensor)) for name, tensor in model.state_dict().items()
    } == dict.fromkeys(model.state_dict(), True)


async def test_llama_cpp_computes_what_we_compute(home: Path, tokenizer_folder: Path) -> None:
    """The distribution after prompts of several lengths, over the whole vocabulary, for every family and precision."""
    pytest.importorskip("xllamacpp")
    settings = load_settings({"engine.slots": 1, "engine.threads": 1, "engine.max_loaded": 1}).value
    settings.models_dir.mkdir(parents=True)
    # The cache of keys and values has 16 bits, and q8_0 makes llama.cpp quantise activations too. That alone may send a
    # token to another expert where two have nearly the same score: therefore the median counts.
    cases = [(name, "float32", 0.01) for name in WRITABLE]
    cases += [("llama", "float16", 0.01), ("llama", "bfloat16", 0.03), ("mixtral", "q8_0", 0.15)]
    async with Engines(settings) as engines:
        for name, dtype, tolerance in cases:
            spec, model_id = spec_for(name, vocab_size=VOCAB), f"{name}.{dtype}"
            path = settings.models_dir / f"{model_id}.gguf"
            save_gguf(path, spec, random_model(spec).state_dict(), tokenizer_folder, dtype)
            ours = loaded(*load_gguf(path))
            ids = tokens(spec, batch=1)[0].tolist()
            worst = []
            for length in (1, 5, 7) if spec.sliding_window else (1, 20, 40):
                theirs = await distribution(engines, model_id, ids[:length])
                with torch.no_grad():
                    mine = torch.log_softmax(ours(torch.tensor([ids[:length]]))[0, -1].float(), dim=-1)
                worst.append(float((mine - theirs).abs().max()))
            assert median(worst) < tolerance and max(worst) < 0.2, (model_id, worst)


async def distribution(engines: Engines, model: str, ids: list[int]) -> Any:
    """Log-probability of every token after `ids`, as llama.cpp computes it; the token chosen is one that prints."""
    body = {
        "model": model,
        "prompt": ids,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": VOCAB,
        "n_probs": VOCAB,
        "logit_bias": {str(PRINTS): 100},
    }
    answer = await engines.request("/completions", body)
    (step,) = answer["choices"][0]["logprobs"]["content"]
    found = torch.full((VOCAB,), float("nan"))
    for row in step["top_logprobs"]:
        found[row["id"]] = row["logprob"]
    assert not found.isnan().any()
    return found


PRINTS = 3 + sorted(map(chr, range(33, 127))).index("a")
"""Id of the letter a in the tiny tokenizer: after the special tokens."""


QUANTISED = [
    kind
    for kind in gguf.GGMLQuantizationType
    if kind.name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
]


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda kind: kind.name)
def test_quantised_tensors(kind: Any, tokenizer_folder: Path, tmp_path: Path) -> None:
    """A file with one tensor of random blocks of each kind gives what the gguf package says they mean, unpermuted."""
    spec = spec_for("llama", vocab_size=VOCAB, dim=256, ffn_dim=256, num_layers=1)
    save_gguf(tmp_path / "plain.gguf", spec, random_model(spec).state_dict(), tokenizer_folder, "float32")
    blocks = replace_tensor(tmp_path / "plain.gguf", tmp_path / "m.gguf", "blk.0.attn_q.weight", kind)
    _, state = load_gguf(tmp_path / "m.gguf")
    values = torch.from_numpy(quants.dequantize(blocks, kind))
    heads = values.view(spec.num_heads, spec.head_dim // 2, 2, spec.dim)
    wanted = torch.cat([heads[:, :, 0], heads[:, :, 1]], dim=1).reshape(spec.dim, spec.dim)
    assert torch.equal(state["layers.0.attention.q.weight"].nan_to_num(), wanted.nan_to_num())


def replace_tensor(source: Path, target: Path, name: str, kind: Any, architecture: str = "llama") -> Any:
    """Copy a GGUF file with the blocks of one tensor drawn anew, as another kind."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, architecture)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0], field.types[-1])
    drawn = None
    for tensor in reader.tensors:
        if tensor.name != name:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
            continue
        shape = quants.quant_shape_to_byte_shape(tuple(int(n) for n in reversed(tensor.shape)), kind)
        drawn = np.random.default_rng(0).integers(0, 60, shape, dtype=np.uint8)
        writer.add_tensor(tensor.name, drawn, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return drawn


def test_a_kind_that_cannot_be_read(tokenizer_folder: Path, tmp_path: Path) -> None:
    spec = spec_for("llama", vocab_size=VOCAB, dim=256, ffn_dim=256, num_layers=1)
    save_gguf(tmp_path / "plain.gguf", spec, random_model(spec).state_dict(), tokenizer_folder, "float32")
    replace_tensor(tmp_path / "plain.gguf", tmp_path / "m.gguf", "blk.0.ffn_up.weight", gguf.GGMLQuantizationType.Q8_K)
    with pytest.raises(UserError, match=r"'blk\.0\.ffn_up\.weight' is of type Q8_K"):
        load_gguf(tmp_path / "m.gguf")


def test_rows_that_cannot_be_quantised_keep_16_bits(tokenizer_folder: Path, tmp_path: Path) -> None:
    spec = spec_for("mixtral", vocab_size=VOCAB, ffn_dim=80)
    save_gguf(tmp_path / "m.gguf", spec, random_model(spec).state_dict(), tokenizer_folder, "q8_0")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.ffn_up_exps.weight"] == kinds["token_embd.weight"] == "Q8_0"  # rows of 64
    assert kinds["blk.0.ffn_down_exps.weight"] == "F16"  # rows of 48
    assert kinds["blk.0.ffn_gate_inp.weight"] == kinds["blk.0.attn_norm.weight"] == "F32"


def test_tied_embeddings_are_written_once(tokenizer_folder: Path, tmp_path: Path) -> None:
    spec = spec_for("smollm", vocab_size=VOCAB)
    model = random_model(spec)
    save_gguf(tmp_path / "m.gguf", spec, model.state_dict(), tokenizer_folder, "bfloat16")
    assert "output.weight" not in {tensor.name for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    back, state = load_gguf(tmp_path / "m.gguf")
    assert back.tied_embeddings and torch.equal(state["head.weight"], model.embed.weight.to(torch.bfloat16))


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("qwen3_moe-uneven", {}, "experts in some layers only"),
        ("qwen3", {"rope_scaling": LLAMA3}, "llama3"),
        ("llama", {"qk_norm": "full"}, "OLMo 2"),
        ("llama", {"vocab_size": 300}, "320 tokens and the model 300"),
    ],
)
def test_what_cannot_be_written(
    name: str, changes: dict[str, Any], reason: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    spec = spec_for(name, **{"vocab_size": VOCAB, **changes})
    with pytest.raises(UserError, match=reason):
        save_gguf(tmp_path / "m.gguf", spec, random_model(spec).state_dict(), tokenizer_folder)
    assert not list(tmp_path.iterdir())


def test_bad_requests_and_files(tokenizer_folder: Path, tmp_path: Path) -> None:
    spec, path = spec_for("llama", vocab_size=VOCAB), tmp_path / "m.gguf"
    state = random_model(spec).state_dict()
    with pytest.raises(UserError, match=r"'int3'.*q8_0"):
        save_gguf(path, spec, state, tokenizer_folder, "int3")
    with pytest.raises(UserError, match="has shape"):
        save_gguf(path, spec, {**state, "norm.weight": torch.ones(3)}, tokenizer_folder)
    assert not list(tmp_path.iterdir())
    save_gguf(path, spec, state, tokenizer_folder)
    with pytest.raises(ConflictError, match="exists already"):
        save_gguf(path, spec, state, tokenizer_folder)
    with pytest.raises(NotFoundError, match="other"):
        load_gguf(tmp_path / "other.gguf")
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:20_000], b"x" + whole[1:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="no whole GGUF file"):
            load_gguf(path)
    path.write_bytes(whole.replace(b"llama", b"lloma"))
    with pytest.raises(UserError, match="'lloma' cannot be read"):
        load_gguf(path)
    path.write_bytes(whole.replace(b"blk.1.ffn_up", b"blk.1.ffn_op"))
    with pytest.raises(UserError, match=r"lacks the tensor 'blk\.1\.ffn_up\.weight'"):
        load_gguf(path)


# -- the tokenizer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe", "dbrx", "smollm", "gpt-2"])
async def test_the_tokenizer_survives(pre: str, adds_bos: bool, home: Path, tmp_path: Path) -> None:
    """Folder to GGUF to folder cuts texts of many languages up as before, and so does llama.cpp."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("xllamacpp")
    settings = load_settings({"engine.slots": 1, "engine.threads": 1}).value
    spec = spec_for("llama", vocab_size=384)
    folder = tiny_tokenizer(tmp_path / "tokenizer", 320, pre, adds_bos=adds_bos)
    path = settings.models_dir / "m.gguf"
    save_gguf(path, spec, random_model(spec).state_dict(), folder, "float16")
    (tmp_path / "back").mkdir()
    load_tokenizer(path, tmp_path / "back")
    before, after = (transformers.AutoTokenizer.from_pretrained(place) for place in (folder, tmp_path / "back"))
    assert before.get_vocab() == after.get_vocab()
    assert (after.eos_token, after.bos_token, after.pad_token) == ("<|endoftext|>", "<|endoftext|>", None)
    message = [{"role": "user", "content": "Hé"}]
    assert after.apply_chat_template(message, tokenize=False) == before.apply_chat_template(message, tokenize=False)
    async with Engines(settings) as engines:
        await engines.ensure("m")
        for text in [*TEXTS, "<|im_start|>user\n1234567 x<|im_end|>", ""]:
            ids = before(text).input_ids
            assert after(text).input_ids == ids
            assert await tokenized(engines, "m", text) == ids
            assert after.decode(ids) == "<|endoftext|>" * adds_bos + text


async def tokenized(engines: Engines, model: str, text: str) -> list[int]:
    """What llama.cpp makes of a text."""
    import aiohttp

    child = engines._locals[model]._supervisor
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {child.key}"}) as http,
        http.post(child.url.removesuffix("/v1") + "/tokenize", json={"content": text, "add_special": True}) as response,
    ):
        return list((await response.json())["tokens"])


def test_tokenizers_that_llama_cpp_would_read_otherwise_are_refused(tmp_path: Path) -> None:
    spec, state = spec_for("llama", vocab_size=VOCAB), {}
    state = random_model(spec).state_dict()
    path = tiny_tokenizer(tmp_path / "t", VOCAB) / "tokenizer.json"
    good = json.loads(path.read_text())
    for change, reason in [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "no name for"),
        ({"model": {**good["model"], "byte_fallback": True}}, "SentencePiece"),
        ({"model": {**good["model"], "type": "WordPiece"}}, "is WordPiece"),
    ]:
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(UserError, match=reason):
            save_gguf(tmp_path / "m.gguf", spec, state, tmp_path / "t")
    path.unlink()
    with pytest.raises(NotFoundError, match="no tokenizer"):
        save_gguf(tmp_path / "m.gguf", spec, state, tmp_path / "t")


def test_tokenizers_in_files_that_we_cannot_read(tokenizer_folder: Path, tmp_path: Path) -> None:
    spec, path = spec_for("llama", vocab_size=VOCAB), tmp_path / "m.gguf"
    save_gguf(path, spec, random_model(spec).state_dict(), tokenizer_folder)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x05\x00\x00\x00\x00\x00\x00\x00qwen2", b"\x05\x00\x00\x00\x00\x00\x00\x00qwen9"))
    with pytest.raises(UserError, match=r"by the rule 'qwen9'.*known: qwen2"):
        load_tokenizer(path, tmp_path)
    path.write_bytes(whole.replace(b"\x04\x00\x00\x00\x00\x00\x00\x00gpt2", b"\x04\x00\x00\x00\x00\x00\x00\x00bert"))
    with pytest.raises(UserError, match="of kind 'bert'"):
        load_tokenizer(path, tmp_path)


# -- a real model -----------------------------------------------------------------------------------------------------


@pytest.fixture
def one_thread_more() -> Iterator[None]:
    """The real model is worth both processors."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, before))
    yield
    torch.set_num_threads(before)


@pytest.mark.model
@pytest.mark.usefixtures("one_thread_more")
async def test_smollm2(smollm2: Path, smollm2_home: Path, tmp_path: Path) -> None:
    """Its quantised file in our transformer, exported to a folder, in transformers; and its tokenizer."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("xllamacpp")
    spec, state = load_gguf(smollm2)
    (tmp_path / "tokenizer").mkdir()
    load_tokenizer(smollm2, tmp_path / "tokenizer")
    assert save_hf(tmp_path / "hf", spec, state, tmp_path / "tokenizer", "float32") == "llama"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32)
    assert theirs.generation_config.eos_token_id == [2, 0]
    with torch.device("meta"):
        ours = Transformer(spec).eval()
    ours.load_state_dict(load_hf(tmp_path / "hf")[1], assign=True)
    ids = tokenizer("The capital of France is Paris. The capital of Italy is", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = ours(ids)
        torch.testing.assert_close(logits, theirs(ids).logits, rtol=1e-4, atol=1e-3)
    assert tokenizer.decode(logits[0, -1].argmax()) == " Rome"
    async with Engines(load_settings({"model": smollm2.parent.name}).value) as engines:
        await engines.ensure()
        for text in [*TEXTS, "<|im_start|>user\nhi<|im_end|>\n", "3.14159 — 10%"]:
            assert await tokenized(engines, smollm2.parent.name, text) == tokenizer(text).input_ids
            assert tokenizer.decode(tokenizer(text).input_ids) == text
