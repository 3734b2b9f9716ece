// Plug-in for Debian 12's qemu-user (7.2): counts how often each translated block runs between two system
// calls, getpgid(0x5150) and getpgid(0x5151), which fail and do nothing else, and writes the blocks to the
// file given as out=, one line each: runs, instructions, address, their bytes. With cache=1 it counts the
// misses of a two-level data cache (64 KiB 4-way and 1 MiB 8-way, lines of 64 bytes, least recently used)
// instead, which takes far longer. The guest should compute on one thread.
//
// That qemu has no header for plug-ins; what is used of it is declared here.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t Id;

int qemu_plugin_version = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(Id, void (*)(Id, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_syscall_cb(Id, void (*)(Id, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                       uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb*, int operation, void*, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn*, void (*)(unsigned, uint32_t, uint64_t, void*),
                                      int flags, int access, void*);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn*);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn*);

enum { kGetpgid = 155, kStart = 0x5150, kStop = 0x5151, kAddInline = 0, kNoFlags = 0, kReadsAndWrites = 3 };

// ---- blocks

typedef struct Block {
  struct Block* next;
  uint64_t address, hash, instructions, runs;
  size_t size;
  unsigned char bytes[];
} Block;

enum { kBuckets = 1 << 16, kLargestBlock = 8192 };
static Block* buckets[kBuckets];

static uint64_t Hash(const unsigned char* bytes, size_t size) {  // FNV-1a
  uint64_t hash = 14695981039346656037ull;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 1099511628211ull;
  return hash;
}

static Block* FindBlock(uint64_t address, const unsigned char* bytes, size_t size, uint64_t instructions) {
  const uint64_t hash = Hash(bytes, size);
  Block** at = &buckets[((address >> 2) ^ hash) % kBuckets];
  for (Block* block = *at; block != NULL; block = block->next) {
    if (block->address == address && block->hash == hash && block->instructions == instructions) return block;
  }
  Block* block = calloc(1, sizeof(Block) + size);
  if (block == NULL) abort();
  block->address = address;
  block->hash = hash;
  block->instructions = instructions;
  block->size = size;
  memcpy(block->bytes, bytes, size);
  block->next = *at;
  return *at = block;
}

static void CountBlock(Id id, struct qemu_plugin_tb* translated) {
  (void)id;
  const size_t instructions = qemu_plugin_tb_n_insns(translated);
  unsigned char bytes[kLargestBlock];
  size_t size = 0;
  for (size_t i = 0; i < instructions; ++i) {
    struct qemu_plugin_insn* instruction = qemu_plugin_tb_get_insn(translated, i);
    const size_t length = qemu_plugin_insn_size(instruction);
    if (size + length > sizeof(bytes)) abort();
    memcpy(bytes + size, qemu_plugin_insn_data(instruction), length);
    size += length;
  }
  Block* block = FindBlock(qemu_plugin_tb_vaddr(translated), bytes, size, instructions);
  qemu_plugin_register_vcpu_tb_exec_inline(translated, kAddInline, &block->runs, 1);
}

static void ClearBlocks(void) {
  for (int i = 0; i < kBuckets; ++i) {
    for (Block* block = buckets[i]; block != NULL; block = block->next) block->runs = 0;
  }
}

static void WriteBlocks(FILE* file) {
  for (int i = 0; i < kBuckets; ++i) {
    for (const Block* block = buckets[i]; block != NULL; block = block->next) {
      if (block->runs == 0) continue;
      fprintf(file, "%llu\t%llu\t%llx\t", (unsigned long long)block->runs,
              (unsigned long long)block->instructions, (unsigned long long)block->address);
      for (size_t k = 0; k < block->size; ++k) fprintf(file, "%02x", block->bytes[k]);
      fputc('\n', file);
    }
  }
}

// ---- caches

enum { kLine = 64, kMostWays = 8 };
typedef struct {
  uint64_t misses;
  int sets, ways;
  uint64_t (*lines)[kMostWays];  // of a set, the most recently used first; 0 for none
} Cache;
static Cache first_level = {0, 256, 4, NULL}, second_level = {0, 2048, 8, NULL};
static bool is_counting;

static bool IsHit(Cache* cache, uint64_t line) {
  uint64_t* const set = cache->lines[line % (uint64_t)cache->sets];
  int at = 0;
  while (at < cache->ways - 1 && set[at] != line + 1) ++at;
  const bool is_hit = set[at] == line + 1;
  memmove(set + 1, set, (size_t)at * sizeof(*set));
  set[0] = line + 1;
  cache->misses += !is_hit;
  return is_hit;
}

static void Access(unsigned cpu, uint32_t info, uint64_t address, void* data) {
  (void)cpu, (void)info, (void)data;
  if (is_counting && !IsHit(&first_level, address / kLine)) IsHit(&second_level, address / kLine);
}

static void CountMisses(Id id, struct qemu_plugin_tb* translated) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(translated); ++i) {
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(translated, i), Access, kNoFlags,
                                     kReadsAndWrites, NULL);
  }
}

// ---- regions

static char path[4096];
static int regions;

static void Start(void) {
  is_counting = true;
  ClearBlocks();
  first_level.misses = second_level.misses = 0;
}

static void Stop(void) {
  is_counting = false;
  char name[sizeof(path) + 16];
  snprintf(name, sizeof(name), "%s.%d", path, regions++);
  FILE* file = fopen(name, "w");
  if (file == NULL) abort();
  if (first_level.lines != NULL) {
    fprintf(file, "%llu\t%llu\n", (unsigned long long)first_level.misses,
            (unsigned long long)second_level.misses);
  } else {
    WriteBlocks(file);
  }
  if (fclose(file) != 0) abort();
}

static void SystemCall(Id id, unsigned cpu, int64_t number, uint64_t argument, uint64_t b, uint64_t c,
                       uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number != kGetpgid) return;
  if (argument == kStart) Start();
  if (argument == kStop && is_counting) Stop();
}

int qemu_plugin_install(Id id, const void* info, int count, char** arguments) {
  (void)info;
  bool counts_misses = false;
  for (int i = 0; i < count; ++i) {
    if (strncmp(arguments[i], "out=", 4) == 0) snprintf(path, sizeof(path), "%s", arguments[i] + 4);
    if (strcmp(arguments[i], "cache=1") == 0) counts_misses = true;
  }
  if (path[0] == '\0') {
    fputs("count_blocks: give out=FILE\n", stderr);
    return 1;
  }
  if (counts_misses) {
    first_level.lines = calloc((size_t)first_level.sets, sizeof(*first_level.lines));
    second_level.lines = calloc((size_t)second_level.sets, sizeof(*second_level.lines));
    if (first_level.lines == NULL || second_level.lines == NULL) return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, counts_misses ? CountMisses : CountBlock);
  qemu_plugin_register_vcpu_syscall_cb(id, SystemCall);
  return 0;
}
