// simt.h on a device: PTX for compute capability 8.0 and later.
#pragma once

#include <cuda_runtime.h>

#include "cuda/cuda_error.h"
#include "cuda/simt.h"

#define MVF_DEVICE __device__ __forceinline__
#define MVF_UNROLL _Pragma("unroll")
#define MVF_NO_UNROLL _Pragma("unroll 1")

namespace mvf::cuda {

// ---- the grid -------------------------------------------------------------------------------------------

MVF_DEVICE int ThreadIndex() { return static_cast<int>(threadIdx.x); }
MVF_DEVICE int BlockThreads() { return static_cast<int>(blockDim.x); }
MVF_DEVICE int64_t BlockIndex() { return blockIdx.x; }

// The block's dynamic shared memory, at a multiple of 16 bytes.
MVF_DEVICE char* SharedMemory() {
  extern __shared__ __align__(16) char shared[];
  return shared;
}

MVF_DEVICE void SyncBlock() { __syncthreads(); }

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocksPerMultiprocessor)
    Entry(const __grid_constant__ typename Kernel::Args args) {
  Kernel::Run(args);
}

// Throws CudaError.
template <class Kernel>
void Launch(const typename Kernel::Args& args, const LaunchShape& shape, Stream stream) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  if (shape.shared > kWithoutAsking) {
    // Always the most that there is: the limit is the kernel's, and other threads launch it with other sizes.
    CheckCuda(cudaFuncSetAttribute(Entry<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape.shared_limit)),
              "to give a block its shared memory");
  }
  void* arguments[] = {const_cast<typename Kernel::Args*>(&args)};
  CheckCuda(
      cudaLaunchKernel(reinterpret_cast<const void*>(Entry<Kernel>),
                       dim3(static_cast<unsigned>(shape.blocks)), dim3(static_cast<unsigned>(shape.threads)),
                       arguments, shape.shared, static_cast<cudaStream_t>(stream)),
      "to launch a kernel");
}

// ---- within a warp, all of whose lanes must call together -----------------------------------------------

MVF_DEVICE float ShuffleXor(float value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
MVF_DEVICE int32_t ShuffleXor(int32_t value, int mask) { return __shfl_xor_sync(0xffffffffu, value, mask); }
MVF_DEVICE float ShuffleFrom(float value, int lane) { return __shfl_sync(0xffffffffu, value, lane); }

MVF_DEVICE uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Eight by eight matrices of 16-bit elements from shared memory. Lane l names row l % 8 of matrix l / 8, 16
// bytes at a multiple of 16. Register i of lane l then holds the elements 2 * (l % 4) and the next of row l /
// 4 of matrix i; `Transposed`, of column l / 4.
MVF_DEVICE void LoadMatrices(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(SharedAddress(row))
               : "memory");
}
MVF_DEVICE void LoadMatrices(uint32_t (&to)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(SharedAddress(row))
               : "memory");
}
MVF_DEVICE void LoadMatricesTransposed(uint32_t (&to)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(to[0]), "=r"(to[1])
               : "r"(SharedAddress(row))
               : "memory");
}

// sums += a * b: [16 x 16] * [16 x 8] in the fragments of PTX's mma.m16n8k16.
MVF_DEVICE void MultiplyFragments(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Half) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MVF_DEVICE void MultiplyFragments(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Bf16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same of TF32, whose operands must have been rounded: [16 x 8] * [8 x 8] in the fragments of PTX's
// mma.m16n8k8.
MVF_DEVICE void MultiplyFragments(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Tf32) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same of bytes, exact in 32 bits: [16 x 32] * [32 x 8] in the fragments of PTX's mma.m16n8k32.
MVF_DEVICE void MultiplyFragments(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                  UnsignedBySigned) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
MVF_DEVICE void MultiplyFragments(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                  SignedByUnsigned) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- copies from device to shared memory that run on their own ------------------------------------------

// kBytes (4, 8 or 16, both addresses multiples of it), or zeros where nothing is `there`. `from` must be an
// address of device memory in either case.
template <int kBytes>
MVF_DEVICE void CopyAsync(void* to, const void* from, bool there) {
  const int bytes = there ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(to)), "l"(from),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(SharedAddress(to)), "l"(from),
                 "n"(kBytes), "r"(bytes)
                 : "memory");
  }
}

// Ends a group of this thread's copies; a group may be empty.
MVF_DEVICE void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until no more than the kGroups latest groups of this thread are under way.
template <int kGroups>
MVF_DEVICE void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

// ---- elements -------------------------------------------------------------------------------------------

// Sixteen bytes, at a multiple of 16, that nobody writes while the kernel runs.
MVF_DEVICE uint4 LoadConstant16(const void* from) { return __ldg(static_cast<const uint4*>(from)); }
MVF_DEVICE uint2 LoadConstant8(const void* from) { return __ldg(static_cast<const uint2*>(from)); }

MVF_DEVICE float Widen(float value) { return value; }
MVF_DEVICE float Widen(Tf32 value) { return value.value; }
MVF_DEVICE float Widen(Bf16 value) { return __uint_as_float(static_cast<uint32_t>(value.bits) << 16); }
MVF_DEVICE float Widen(Half value) {
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
}

MVF_DEVICE uint32_t NarrowPair(float low, float high, Half) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
MVF_DEVICE uint32_t NarrowPair(float low, float high, Bf16) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// The bits of the nearest TF32, of two the one away from zero.
MVF_DEVICE uint32_t RoundToTf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

// A word at a multiple of four bytes, two floats at a multiple of eight, sixteen bytes at a multiple of that.
MVF_DEVICE uint32_t LoadWord(const void* from) { return *static_cast<const uint32_t*>(from); }
MVF_DEVICE void StoreShort(void* to, uint32_t bits) {
  *static_cast<uint16_t*>(to) = static_cast<uint16_t>(bits);
}
MVF_DEVICE void StoreWord(void* to, uint32_t word) { *static_cast<uint32_t*>(to) = word; }
MVF_DEVICE void StoreFloats(float* to, float first, float second) {
  *reinterpret_cast<float2*>(to) = make_float2(first, second);
}
MVF_DEVICE float2 LoadFloats(const float* from) { return *reinterpret_cast<const float2*>(from); }
MVF_DEVICE uint4 Load16(const void* from) { return *static_cast<const uint4*>(from); }
MVF_DEVICE void Store8(void* to, uint2 words) { *static_cast<uint2*>(to) = words; }
MVF_DEVICE void Store16(void* to, uint4 words) { *static_cast<uint4*>(to) = words; }

MVF_DEVICE float BitsAsFloat(uint32_t bits) { return __uint_as_float(bits); }

// Bytes of low (numbers 0 to 3) and high (4 to 7): byte i of the result is the one that digit i of `numbers`,
// a hexadecimal number, names.
MVF_DEVICE uint32_t PickBytes(uint32_t low, uint32_t high, uint32_t numbers) {
  return __byte_perm(low, high, numbers);
}

// sum + the products of four unsigned bytes and four signed ones.
MVF_DEVICE int32_t AddProducts(uint32_t bytes, uint32_t signed_bytes, int32_t sum) {
  int32_t result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(bytes), "r"(signed_bytes), "r"(sum));
  return result;
}

// Each rounded to the nearest, and none joined with another, as a compiler would.
MVF_DEVICE float Add(float a, float b) { return __fadd_rn(a, b); }
MVF_DEVICE float Subtract(float a, float b) { return __fsub_rn(a, b); }
MVF_DEVICE float Multiply(float a, float b) { return __fmul_rn(a, b); }
MVF_DEVICE float Divide(float a, float b) { return __fdiv_rn(a, b); }
MVF_DEVICE float SquareRoot(float value) { return __fsqrt_rn(value); }
MVF_DEVICE float FusedMultiplyAdd(float a, float b, float c) { return __fmaf_rn(a, b, c); }
MVF_DEVICE float ToReal(int32_t value) { return __int2float_rn(value); }
// Halves to the even neighbour; at most the largest number of 32 bits, or the least.
MVF_DEVICE int32_t RoundToInt(float value) { return __float2int_rn(value); }

// To about a unit in the last place.
MVF_DEVICE float Exp2(float value) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}
MVF_DEVICE float Reciprocal(float value) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
  return result;
}
MVF_DEVICE float ReciprocalRoot(float value) { return rsqrtf(value); }

}  // namespace mvf::cuda
