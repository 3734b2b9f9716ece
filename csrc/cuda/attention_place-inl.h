// Which part of attention a block computes, and where its tokens lie.
#pragma once

#include "cuda/simt.h"

namespace mvf::cuda {

// Blocks are numbered by image, position in the patch, head, and block of queries. `Args` are those of a
// kernel of attention.
template <class Args>
struct AttentionPlace {
  int64_t image;
  int first_query;
  int head;
  int patch_y, patch_x;

  // `queries`: of a warp.
  MVF_DEVICE AttentionPlace(const Args& args, int queries) {
    const int64_t unit = BlockIndex() / args.query_blocks;
    first_query =
        static_cast<int>(BlockIndex() - unit * args.query_blocks) * (BlockThreads() / kWarp) * queries;
    const int64_t place = unit / args.heads;
    head = static_cast<int>(unit - place * args.heads);
    const int positions = args.patch_height * args.patch_width;
    image = place / positions;
    const int position = static_cast<int>(place - image * positions);
    patch_y = position / args.patch_width;
    patch_x = position - patch_y * args.patch_width;
  }

  MVF_DEVICE int64_t PixelOf(const Args& args, int token) const {
    const int row = token / args.tokens_across, column = token - row * args.tokens_across;
    return image * args.pixels + static_cast<int64_t>(row * args.patch_height + patch_y) * args.width +
           (column * args.patch_width + patch_x);
  }

  // q, k or v (part 0, 1, 2) of a token, from one of the head's channels on.
  MVF_DEVICE auto* Source(const Args& args, int part, int token, int channel) const {
    const int dim = args.heads * args.head_dim;
    return args.qkv + PixelOf(args, token) * 3 * dim + part * dim + head * args.head_dim + channel;
  }

  // The head's channels of a token.
  MVF_DEVICE auto* Target(const Args& args, int token) const {
    return args.output + PixelOf(args, token) * args.heads * args.head_dim + head * args.head_dim;
  }
};

}  // namespace mvf::cuda
