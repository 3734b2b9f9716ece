// simt.h on a host: the same functions as simt_device.h, which says what each does, for an emulator that runs
// a block's threads in turns and lets them meet where a device would make them wait for each other.
#pragma once

#include <cmath>
#include <functional>

#include "base/half.h"
#include "cuda/simt.h"

#define MVF_DEVICE inline
#define MVF_UNROLL
#define MVF_NO_UNROLL

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(8) float2 {
  float x, y;
};

namespace mvf::cuda {

namespace emulator {

int ThreadIndex();
int BlockThreads();
int64_t BlockIndex();
char* SharedMemory();
void SyncBlock();

// All lanes of a warp come here with operands of their own; then `act` runs once, on those of all lanes.
using WarpAction = void (*)(void* const* operands_of_lanes);
void MeetWarp(void* operands, WarpAction act);

void CopyAsync(void* to, const void* from, size_t bytes, bool there);
void CommitCopies();
void WaitCopies(int groups);

// Throws unless the address is a multiple of `bytes`.
void CheckAligned(const void* address, size_t bytes);

// Calls `thread` once for each thread of each block; or later, where the stream is being captured.
void RunGrid(const LaunchShape& shape, Stream stream, std::function<void()> thread);

struct Shuffled {
  uint32_t bits;
  int from;
  uint32_t result;
};
void Shuffle(void* const* lanes);

struct MatrixRow {
  const void* row;
  uint32_t* to;
  int count;
  bool transposed;
};
void LoadMatrixRows(void* const* lanes);

struct Fragments {
  float* sums;
  const uint32_t* a;
  const uint32_t* b;
};
template <class Element>
void MultiplyAll(void* const* lanes);

struct ByteFragments {
  int32_t* sums;
  const uint32_t* a;
  const uint32_t* b;
};
template <class Signs>
void MultiplyAllBytes(void* const* lanes);

}  // namespace emulator

inline int ThreadIndex() { return emulator::ThreadIndex(); }
inline int BlockThreads() { return emulator::BlockThreads(); }
inline int64_t BlockIndex() { return emulator::BlockIndex(); }
inline char* SharedMemory() { return emulator::SharedMemory(); }
inline void SyncBlock() { emulator::SyncBlock(); }

template <class Kernel>
void Launch(const typename Kernel::Args& args, const LaunchShape& shape, Stream stream) {
  emulator::RunGrid(shape, stream, [args] { Kernel::Run(args); });
}

inline uint32_t ShuffleBits(uint32_t bits, int lane) {
  emulator::Shuffled shuffled{bits, lane, 0};
  emulator::MeetWarp(&shuffled, emulator::Shuffle);
  return shuffled.result;
}
inline float ShuffleFrom(float value, int lane) { return FloatOf(ShuffleBits(BitsOf(value), lane)); }
inline float ShuffleXor(float value, int mask) { return ShuffleFrom(value, ThreadIndex() % kWarp ^ mask); }
inline int32_t ShuffleXor(int32_t value, int mask) {
  return static_cast<int32_t>(ShuffleBits(static_cast<uint32_t>(value), ThreadIndex() % kWarp ^ mask));
}

template <size_t kCount>
void LoadMatrices(uint32_t (&to)[kCount], const void* row) {
  emulator::MatrixRow matrix_row{row, to, static_cast<int>(kCount), false};
  emulator::MeetWarp(&matrix_row, emulator::LoadMatrixRows);
}
inline void LoadMatricesTransposed(uint32_t (&to)[2], const void* row) {
  emulator::MatrixRow matrix_row{row, to, 2, true};
  emulator::MeetWarp(&matrix_row, emulator::LoadMatrixRows);
}

template <class Element>
void MultiplyFragments(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Element) {
  emulator::Fragments fragments{sums, a, b};
  emulator::MeetWarp(&fragments, emulator::MultiplyAll<Element>);
}

template <class Signs>
void MultiplyFragments(int32_t (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Signs) {
  emulator::ByteFragments fragments{sums, a, b};
  emulator::MeetWarp(&fragments, emulator::MultiplyAllBytes<Signs>);
}

template <int kBytes>
void CopyAsync(void* to, const void* from, bool there) {
  emulator::CopyAsync(to, from, kBytes, there);
}
inline void CommitCopies() { emulator::CommitCopies(); }
template <int kGroups>
void WaitCopies() {
  emulator::WaitCopies(kGroups);
}

// Throws where a device would trap: an address that is no multiple of what is moved.
template <class Words>
Words LoadAligned(const void* from) {
  emulator::CheckAligned(from, sizeof(Words));
  Words words;
  std::memcpy(&words, from, sizeof(words));
  return words;
}
template <class Words>
void StoreAligned(void* to, const Words& words) {
  emulator::CheckAligned(to, sizeof(Words));
  std::memcpy(to, &words, sizeof(words));
}

inline uint4 LoadConstant16(const void* from) { return LoadAligned<uint4>(from); }
inline uint2 LoadConstant8(const void* from) { return LoadAligned<uint2>(from); }
inline uint32_t LoadWord(const void* from) { return LoadAligned<uint32_t>(from); }
inline void StoreShort(void* to, uint32_t bits) { StoreAligned(to, static_cast<uint16_t>(bits)); }
inline void StoreWord(void* to, uint32_t word) { StoreAligned(to, word); }
inline void StoreFloats(float* to, float first, float second) { StoreAligned(to, float2{first, second}); }
inline float2 LoadFloats(const float* from) { return LoadAligned<float2>(from); }
inline uint4 Load16(const void* from) { return LoadAligned<uint4>(from); }
inline void Store8(void* to, uint2 words) { StoreAligned(to, words); }
inline void Store16(void* to, uint4 words) { StoreAligned(to, words); }

template <class Element>
float Widen(Element value) {
  return ToFloat(value);
}
template <class Element>
uint32_t NarrowPair(float low, float high, Element) {
  return RoundTo<Element>(low).bits | static_cast<uint32_t>(RoundTo<Element>(high).bits) << 16;
}
inline uint32_t RoundToTf32(float value) { return BitsOf(RoundTo<Tf32>(value).value); }
inline float BitsAsFloat(uint32_t bits) { return FloatOf(bits); }

inline uint32_t PickBytes(uint32_t low, uint32_t high, uint32_t numbers) {
  const uint64_t bytes = low | static_cast<uint64_t>(high) << 32;
  uint32_t picked = 0;
  for (int i = 0; i < 4; ++i) {
    picked |= static_cast<uint32_t>(bytes >> (8 * (numbers >> (4 * i) & 7)) & 0xff) << (8 * i);
  }
  return picked;
}

inline int32_t AddProducts(uint32_t bytes, uint32_t signed_bytes, int32_t sum) {
  for (int i = 0; i < 32; i += 8) {
    sum += static_cast<uint8_t>(bytes >> i) * static_cast<int8_t>(signed_bytes >> i);
  }
  return sum;
}

// To be compiled without joining products and sums.
inline float Add(float a, float b) { return a + b; }
inline float Subtract(float a, float b) { return a - b; }
inline float Multiply(float a, float b) { return a * b; }
inline float Divide(float a, float b) { return a / b; }
inline float SquareRoot(float value) { return std::sqrt(value); }
inline float FusedMultiplyAdd(float a, float b, float c) { return std::fma(a, b, c); }
inline float ToReal(int32_t value) { return static_cast<float>(value); }
inline int32_t RoundToInt(float value) {
  if (std::isnan(value)) return 0;
  const double rounded = std::nearbyint(static_cast<double>(value));
  return static_cast<int32_t>(rounded < INT32_MIN ? INT32_MIN : rounded > INT32_MAX ? INT32_MAX : rounded);
}

inline float Exp2(float value) { return std::exp2(value); }
inline float Reciprocal(float value) { return 1.0f / value; }
inline float ReciprocalRoot(float value) { return 1.0f / std::sqrt(value); }

}  // namespace mvf::cuda
