// The parts of the module `_C`, each bound in a file of its own.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "kernels/dispatch.h"

namespace mvf {

void BindEngine(pybind11::module_& module);  // class Engine
// why_no_cuda (empty where a device can be used), cuda_devices, and with CUDA kernels classes CudaEngine and
// CudaPreparer, and cuda_ops
void BindCuda(pybind11::module_& module);
void BindCudaImages(pybind11::module_& module);  // class CudaPreparer
void BindCudaOps(pybind11::module_& module);     // the submodule cuda_ops
void BindImages(pybind11::module_& module);      // class ImagePreparer
void BindObjectWalk(pybind11::module_& module);  // fingerprint, any_true, prefetch

// Functions of the submodule `ops`: each kernel by itself. Weights have the layouts of kernel_table.h and
// int8_kernels.h.
void BindRowOps(pybind11::module_& ops);
void BindConvolutionOps(pybind11::module_& ops);
void BindMapOps(pybind11::module_& ops);
void BindTrainingOps(pybind11::module_& ops);
void BindTrainingLayerOps(pybind11::module_& ops);
void BindInt8RowOps(pybind11::module_& ops);
void BindInt8MapOps(pybind11::module_& ops);

// The table of an `isa` argument (None for the best of that precision), a `precision` argument, and the count
// of a `threads` argument (None for the default).
const KernelTable& ReadIsa(const pybind11::object& isa, Precision precision = Precision::kFp32);
Precision ReadPrecision(const pybind11::object& precision);
int ReadThreads(const pybind11::object& threads);

}  // namespace mvf
