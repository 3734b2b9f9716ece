#include "cuda/launch-inl.h"
#include "cuda/matrix.h"
#include "cuda/prepare-inl.h"

namespace mvf {

int64_t FirstPassBlocks(int64_t pixels) { return cuda::DivideUp(pixels, cuda::FirstPassKernel::kThreads); }

void PrepareOnDevice(const PrepareBatch& batch, const CudaRun& run) {
  using cuda::FirstPassKernel;
  using cuda::PlanesKernel;
  const FirstPassKernel::Args first = {batch.jobs, cuda::Narrowed(batch.images)};
  cuda::LaunchBlocks<FirstPassKernel>(first, batch.first_blocks, FirstPassKernel::kThreads, 0, run);
  const int64_t pixels = batch.images * batch.height * batch.width;
  const PlanesKernel::Args second = {batch.jobs,
                                     batch.values,
                                     batch.planes,
                                     pixels,
                                     cuda::Narrowed(batch.height),
                                     cuda::Narrowed(batch.width),
                                     batch.bgr};
  cuda::LaunchBlocks<PlanesKernel>(second, cuda::DivideUp(pixels, PlanesKernel::kThreads),
                                   PlanesKernel::kThreads, 0, run);
}

}  // namespace mvf
