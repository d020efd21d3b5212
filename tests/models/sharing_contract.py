"""A model of every family in threads, processes, copies and offloaded; inherited by both contracts."""

import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import accelerate
import pytest
import torch
from torch import Tensor

from tests.models.inputs_contract import streams
from tests.models.probes import assert_equal_within_rounding

TIMEOUT_SECONDS = 60


@contextmanager
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def code(connection: Connection, model: Any, x: Tensor) -> None:
    connection.send(model(x).sample.numpy())


@torch.no_grad()
def coded_in_a_process(model: Any, x: Tensor, method: str) -> Tensor:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=code, args=(theirs, model, x))
    process.start()
    try:
        assert ours.poll(TIMEOUT_SECONDS), "the process hangs"
        return torch.from_numpy(ours.recv())
    finally:
        process.kill()
        process.join()


class SharingContract:
    """A subclass has `tiny_model` and `waveform`."""

    tiny_model: Callable[..., Any]
    waveform: Callable[..., Tensor]

    @torch.no_grad()
    @pytest.mark.parametrize("is_fused", [False, True])
    def test_a_process_that_is_forked_after_a_model_has_run_codes_the_same(self, is_fused):
        model = self.tiny_model()
        x = self.waveform((100 if model.decodes_sample_by_sample else 2000) * model.hop_length)
        if is_fused:
            model.fuse()
        with two_threads():
            expected = model(x).sample
            torch.nn.functional.conv1d(torch.ones(1, 64, 20_000), torch.ones(64, 64, 7))  # certainly in two threads
            assert_equal_within_rounding(coded_in_a_process(model, x, "fork"), expected, operations=1000)

    @pytest.mark.slow
    @torch.no_grad()
    @pytest.mark.parametrize("is_fused", [False, True])
    def test_a_new_process_codes_the_same(self, is_fused):
        model = self.tiny_model()
        x = self.waveform(30 * model.hop_length)
        if is_fused:
            model.fuse()
        expected = model(x).sample
        assert_equal_within_rounding(coded_in_a_process(model, x, "spawn"), expected, operations=1000)
        assert_equal_within_rounding(model(x).sample, expected, operations=1000)

    @torch.no_grad()
    @pytest.mark.parametrize("is_fused", [False, True])
    def test_eight_threads_share_a_model(self, is_fused):
        model = self.tiny_model()
        if is_fused:
            model.fuse()
        step = 2 if model.decodes_sample_by_sample else 9
        signals = [self.waveform((10 + step * index) * model.hop_length) for index in range(8)]
        expected = [model(x).sample for x in signals]
        equal: list[bool] = []

        def work(index: int) -> None:
            with torch.no_grad():
                equal.extend(torch.equal(model(signals[index]).sample, expected[index]) for _ in range(4))

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert equal == [True] * 32

    @torch.no_grad()
    def test_a_pickled_model_codes_the_same(self):
        model = self.tiny_model()
        x = self.waveform(30 * model.hop_length)
        expected = model(x).sample
        model.fuse()
        assert torch.equal(pickle.loads(pickle.dumps(model))(x).sample, expected)

    @torch.no_grad()
    def test_an_offloaded_model_codes_the_same_or_says_why_not(self, tmp_path):
        expected_model = self.tiny_model()
        x = self.waveform(30 * expected_model.hop_length)
        expected = expected_model(x).sample
        cpu = torch.device("cpu")
        for offload in (
            lambda model: accelerate.cpu_offload(model, execution_device=cpu),
            lambda model: accelerate.disk_offload(model, str(tmp_path), execution_device=cpu),
        ):
            model = self.tiny_model()
            offload(model)
            try:
                assert torch.equal(model(x).sample, expected)
            except ValueError as error:
                assert "offload the model as a whole" in str(error)
            if streams(expected_model):
                with pytest.raises(ValueError, match="weights are offloaded"):
                    model.streaming()
        model = self.tiny_model()
        accelerate.cpu_offload_with_hook(model, execution_device=cpu)
        assert torch.equal(model(x).sample, expected)

    @torch.no_grad()
    def test_data_parallel_on_a_cpu_codes_the_same(self):
        model = self.tiny_model()
        x = self.waveform(30 * model.hop_length)
        parallel = torch.nn.DataParallel(model)
        assert torch.equal(parallel(x).sample, model(x).sample)
        assert parallel.module.device == torch.device("cpu")
