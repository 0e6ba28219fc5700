"""The doubles say nothing the real bindings do not: names and parameters of CUDA, enumerations of TensorRT.

Classes of TensorRT are compared in test_real_bindings.py.
"""

from __future__ import annotations

import inspect

import cuda_double
import pytest
import tensorrt_double
import tensorrt_rtx
from cuda.bindings import runtime as cudart

CUDA = [name for name in vars(cuda_double.CudaDouble) if name.startswith("cuda")]
ENUMS = [
    *("TensorIOMode", "DataType", "CudaGraphStrategy", "DynamicShapesKernelSpecializationStrategy"),
    *("ExecutionContextAllocationStrategy", "EngineValidity", "EngineInvalidityDiagnostics"),
]


@pytest.mark.parametrize("name", CUDA)
def test_cuda_is_as_the_bindings_have_it(name):
    real, double = getattr(cudart, name), getattr(cuda_double.CudaDouble, name)
    if inspect.isfunction(double):
        parameters = list(inspect.signature(double).parameters)[1:]
        assert parameters == list(inspect.signature(real).parameters)
    elif inspect.isclass(double):
        assert {member.name: member.value for member in double} == {
            member.name: getattr(real, member.name).value for member in double
        }
    else:
        assert double == real


@pytest.mark.parametrize("name", ENUMS)
def test_enumerations_are_as_the_bindings_have_them(name):
    assert {member.name for member in getattr(tensorrt_double, name)} <= set(getattr(tensorrt_rtx, name).__members__)
    assert {member.name for member in tensorrt_double.ILogger.Severity} <= set(
        tensorrt_rtx.ILogger.Severity.__members__
    )


def test_the_bits_of_an_invalid_plan_are_those_of_the_bindings():
    real = tensorrt_rtx.EngineInvalidityDiagnostics.__members__
    assert {each.name: int(each) for each in tensorrt_double.EngineInvalidityDiagnostics} == {
        name: int(member) for name, member in real.items()
    }


def opened():
    """A GPU with a stream, and 4 floats of device and of host memory."""
    gpu = cuda_double.CudaDouble()
    (_, stream), (_, device), (_, host) = gpu.cudaStreamCreateWithFlags(1), gpu.cudaMalloc(16), gpu.cudaMallocHost(16)
    return gpu, stream, device, host


TO_DEVICE = cuda_double.cudaMemcpyKind.cudaMemcpyHostToDevice


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda gpu, stream, device, host: [gpu.cudaFree(device), gpu.cudaFree(device)], "freed twice"),
        (lambda gpu, stream, device, host: [gpu.cudaFreeHost(host), gpu.cudaFreeHost(host)], "freed twice"),
        (
            lambda gpu, stream, device, host: [
                gpu.cudaFree(device),
                gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, stream),
            ],
            "no device memory that is allocated",
        ),
        (
            lambda gpu, stream, device, host: gpu.cudaMemcpyAsync(gpu.cudaMalloc(32)[1], host, 20, TO_DEVICE, stream),
            "beyond its host",
        ),
        (lambda gpu, stream, device, host: gpu.cudaMemcpyAsync(host, device, 16, TO_DEVICE, stream), "other memory"),
        (
            lambda gpu, stream, device, host: gpu.cudaMemcpyAsync(
                device, gpu.cudaMallocHost(32)[1], 32, TO_DEVICE, stream
            ),
            "8 floats of device memory that holds 4",
        ),
        (
            lambda gpu, stream, device, host: gpu.cudaMemcpyAsync(device, 5, 16, TO_DEVICE, stream),
            "and not page-locked",
        ),
        (
            lambda gpu, stream, device, host: [
                gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, stream),
                gpu.cudaFree(device),
            ],
            "while work is under way",
        ),
        (
            lambda gpu, stream, device, host: [gpu.cudaStreamDestroy(stream), gpu.cudaStreamDestroy(stream)],
            "destroyed twice",
        ),
    ],
)
def test_misuse_of_memory_is_caught(misuse, message):
    with pytest.raises(AssertionError, match=message):
        misuse(*opened())


def two_streams():
    gpu, first, device, host = opened()
    return gpu, first, gpu.cudaStreamCreateWithFlags(1)[1], gpu.cudaEventCreateWithFlags(3)[1], device, host


def test_memory_used_on_two_streams_needs_a_wait_between_them():
    gpu, first, second, event, device, host = two_streams()
    gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, first)
    with pytest.raises(AssertionError, match="used on stream .* without a wait for stream"):
        gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, second)
    gpu.cudaEventRecord(event, first)
    gpu.cudaStreamWaitEvent(second, event, 0)
    gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, second)
    with pytest.raises(AssertionError, match="without a wait"):  # the first does not wait for the second
        gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, first)
    gpu.cudaStreamSynchronize(second)  # the host does, and what it does next comes after that
    gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, first)
    gpu.cudaStreamSynchronize(first)


def test_memory_that_is_read_must_not_be_overwritten_meanwhile_but_may_be_read():
    gpu, first, second, _, device, host = two_streams()
    other = gpu.cudaMallocHost(16)[1]
    to_host = cuda_double.cudaMemcpyKind.cudaMemcpyDeviceToHost
    gpu.cudaMemcpyAsync(host, device, 16, to_host, first)
    gpu.cudaMemcpyAsync(other, device, 16, to_host, second)
    with pytest.raises(AssertionError, match="without a wait"):
        gpu.cudaMemcpyAsync(device, other, 16, TO_DEVICE, second)


def test_an_event_is_waited_for_as_it_was_recorded_when_the_wait_was_given():
    gpu, first, second, event, device, host = two_streams()
    with pytest.raises(AssertionError, match="never recorded"):
        gpu.cudaStreamWaitEvent(second, event, 0)
    gpu.cudaEventRecord(event, first)
    gpu.cudaStreamWaitEvent(second, event, 0)
    gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, first)
    gpu.cudaEventRecord(event, first)  # again, too late for the wait
    with pytest.raises(AssertionError, match="without a wait"):
        gpu.cudaMemcpyAsync(device, host, 16, TO_DEVICE, second)
