// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace fastconv {

// The cost model's constants, in cycles of a core with two vector FMA and two loads a cycle, which
// Tile::cycle translates into the core's own. Only their ratios matter: they choose between forms
// and algorithms. Those of tiles, products, taps, scalars and quads fit 277 layers of few channels,
// those of direct's tiles and steps 440 random ones, each algorithm timed by name (Zen 4, AVX2 and
// AVX-512): predicted over measured times of the latter scatter by 0.14 to 0.27, where all tiles
// were thought alike by 0.16 to 0.41.
constexpr double kFma = 0.5;            // one vector FMA
constexpr double kFmaSpread = 0.75;     // the same of what is permuted first
constexpr double kFmaSpreadOnce = 0.6;  // and that for nine of them
constexpr double kTapSpread = 1.9;      // and loaded and permuted for it alone
constexpr double kFmaStraddled = 1.2;   // of what is permuted from two vectors first
// A tap's pixel under a vector of groups, to be found and loaded (of transposed ones on AMD's cores
// alone, as elsewhere the transposition takes as much longer): 16 groups of 4 channels 5x5 at
// 32x32, NHWC, by direct 162 -> 120 us, 3 of 3 3x3 at 28x28 9.1 -> 7.1 (Xeon, AVX-512).
constexpr double kTapGroup = 1.0;
constexpr double kTapAlone = 1.0;   // one vector FMA of a pixel loaded for it alone
constexpr double kTapShared = 0.8;  // of pixels loaded for all rows, or for a row of taps
// One of interleaved channels, and what a tile of theirs takes beyond its taps: 3x3 of 4 channels
// at 512x512, NHWC, by direct 1370 -> 550 us, 7x7 3080 -> 1710 (Zen 3).
constexpr double kTapInterleaved = 0.62, kTileInterleaved = 36.0;
// Of repeated pixels by 2 under wider filters than 3x3, which come from L2: 32 channels by 4, 5x5
// by 2 at 56x56, NHWC, by direct 114 -> 70 us (Xeon, AVX-512), 64 by 2 at 28x28 49 -> 32 (AVX2).
constexpr double kTapRepeated = 1.6;
constexpr double kTapSeparated = 1.45;    // and separated into even and odd columns
constexpr double kFmaRolled = 0.52;       // of pixels loaded once for all of five rows and more
constexpr double kFmaRolledAlone = 0.85;  // where a row is one vector: 14 of its lanes, transposed,
                                          // take 29 us for 37 (192 channels 7x7, Xeon, AVX-512)
constexpr double kFmaSeparated = 0.95;    // and separated
constexpr double kFmaLatency = 4.0;       // a tile's k-step takes at least this
constexpr double kTile = 28.0;            // what a tile takes beyond its steps
constexpr double kSegment = 8.0;          // and where taps are cut for each stretch after the first
constexpr double kTileApart = 18.0;  // the same of one vector of planes whose rows share no loads
// A call for a panel of pixels. 12 to 5 channels 1x1 at 80x80, NCHW, by direct: 11.7 -> 7.7 us
// (Xeon, AVX-512).
constexpr double kPixelPanel = 50.0;
// A call for the tiles of one output row that are not for all of a block.
constexpr double kRowOfTiles = 150.0;
// What a step loses by a row less than the tallest tile's: its sums wait for each other.
constexpr double kShortTile = 0.3;
// Saved by a pixel's step over one vector on the tallest tiles, from this depth on: 64 to 8
// channels 3x3 by 2 at 56x56, NHWC, 103 -> 90 us (Xeon, AVX2).
constexpr double kTallTile = 0.08;
constexpr std::int64_t kTallDepth = 24;
constexpr double kPixelBlock = 300.0;    // what a block of depthwise pixels takes beyond its tiles
constexpr double kProduct = 450.0;       // what a block takes beyond its tiles
constexpr double kStepInPlace = 6.0;     // a step where the next one's pixels are a page away
constexpr double kStepCopied = 3.0;      // what a step takes more that is packed meanwhile
constexpr double kL1Bytes = 64.0;        // that L1 gives a cycle
constexpr double kL2Bytes = 20.0;        // and L2
constexpr double kLoadUnaligned = 0.75;  // one vector load, every second of which splits a line
constexpr double kLoadScalar = 0.5;      // one broadcast
constexpr double kLoadTile = 0.57;       // one load of a tile, which bind narrow ones
// Where a core does two long FMAs a cycle: a tile of 14 by one takes 7.5 cycles a step, over half a
// vector 7.25 (Xeon, AVX-512).
constexpr double kLoadLong = 0.5;
constexpr double kCopyVector = 2.0;  // load and store while packing
constexpr double kRepeat = 2.0;      // load, permutation and store
constexpr double kRepeatLong = 3.5;  // the same of long vectors on their way to L2
constexpr double kCopyScalar = 0.9;  // one element of a gather
// Four channels of eight pixels to or from four rows; each of more pixels is a load or a store.
constexpr double kQuads = 10.5;
constexpr double kFours = 1.3;       // times that, four pixels of a vector of channels
constexpr double kLineUnused = 2.0;  // a line of which few channels of a pixel are taken
constexpr double kLineFar = 6.0;     // a line of windows in place from beyond L2
constexpr double kRun = 4.0;         // set-up of a run of neighbouring lanes, or of a stretch
// And of one of columns three apart and more, taken one by one: 3 to 3 channels 3x3 by 3 on 10x10,
// NCHW, by gemm: 0.74 -> 0.46 us (Xeon, AVX2).
constexpr double kRunApart = 10.0;
constexpr double kPatchRow = 30.0;    // and of a row of a patch, with its padding
constexpr double kTapSought = 25.0;   // one of a pixel whose window reaches into the padding
constexpr double kTap = 35.0;         // set-up of a panel's pixels under one tap
constexpr double kTileDirect = 12.0;  // what a direct tile takes beyond its steps
constexpr double kStep = 0.3;         // and a step beyond its FMAs
constexpr double kVectorL2 = 0.5;     // and each of its vectors that comes from L2
constexpr double kVectorL3 = 1.0;     // or from beyond
constexpr double kVectorOnce = 1.5;   // the least that one of many planes takes from L3
constexpr double kVectorFar = 4.0;    // and from memory
constexpr double kPlane = 3.0;        // a step to the next of many planes
constexpr double kWeightL3 = 6.0;     // and one whose weights come from there
// Times kFmaLatency where a step of direct's has just as many sums as it asks for: 5.7 cycles
// rather than 4.3 (Xeon, AVX2; a Zen 3 takes no longer). 32 groups of 8 channels 3x3 at 14x14,
// NHWC, by gemm: 148 -> 120 us.
constexpr double kChained = 1.3;
// Bytes a cycle of planes that come anew for every few channels out, where L2 does not hold them
// and y: 48 to 24 channels 1x1 at 112x112, NCHW, by gemm: 323 -> 270 us (Xeon, AVX-512). Two long
// FMAs a cycle wait for L2 alike: 48 to 192 at 27x27 118 -> 87, 32 to 128 54 -> 41.
constexpr double kReturned = 24.0;
// The same where the planes are more than half of L2: 16 to 16 at 208x208 by gemm 270 -> 215, 24 to
// 24 at 150x150 315 -> 237, 32 to 16 at 112x112 110 -> 100, 56 to 12 at 255x255 1090 -> 880 (Xeon,
// AVX-512).
constexpr double kReturnedFar = 14.0;
// A vector of results that wait in L2 for the channels beside them. 2 groups of 4 to 8 channels 3x3
// by 2 at 256x256, 4 images, NHWC, by gemm: 2140 -> 1510 us, 7 to 97 4x4 at 73x107, 4 images, 10.9
// -> 9.1 ms, 4 groups of 4 to 8 3x3 at 112x112 by depthwise: 600 -> 450 us (Xeon, AVX2).
constexpr double kVectorStaged = 5.0;
// A line of pixels under a vector of a group's outputs, down rows: those of one vector gain by it,
// others by 2 as much as lose (32 groups of 16 by 2 at 28x28 290 -> 247 us, of 32 852 -> 1080,
// NHWC, Xeon, AVX-512).
constexpr double kLineRolled = 2.0;
constexpr double kPage = 6.0;         // a store to another page than the last
constexpr double kStoreVector = 2.0;  // epilogue and store
constexpr double kTransform = 4.0;    // one vector of one point, into or out of Winograd's domain
constexpr double kTransformAlong = 6.5;   // the same of a transform along one axis
constexpr double kTransformWeight = 1.7;  // one vector of weights on the way in, tap or point
// A vector's share of a transposed block, where long runs of pixels are, and where a block has but
// a part of each row, or few pixels in all.
constexpr double kTranspose = 2.0;
constexpr double kTransposePixel = 3.5;
constexpr double kScatter = 7.5;  // a vector of results on its way to where lanes are apart
// And more that waits for L2, where points go and come from: 512 channels 7x7, NHWC, by gemm 2960
// -> 2210 us (Xeon, AVX2), 640 to 1280 at 8x8 6300 -> 5000 (AVX-512).
constexpr double kTransformWeightLate = 3.0;
constexpr double kTileBlock = 900.0;      // set-up of a block of Winograd's tiles
constexpr double kTileLine = 70.0;        // the same of a line of them, on each of its ways
constexpr double kWait = 0.85;            // a cycle in which a sum is waited for, beside an FMA's
constexpr double kWeightByteFar = 0.015;  // of transformed weights from beyond the near caches
constexpr double kWeightByteLate = 0.08;  // more where L3 gives fewer than FMAs take
constexpr double kWeightByte = 0.12;      // of weights that few pixels share, from beyond L2
constexpr double kTileByteFar = 0.05;     // of transformed tiles from there
constexpr double kTileByteStored = 0.15;  // and on its way there
// And to L2 if it is full of them: of 256 and 512 channels to 64, by 1 to 12 at 24x24 to 65x65,
// 0.06 to 0.30 more than thought. 256 to 64 by 6 at 33x33, NHWC, by gemm: 1670 -> 1450 us (Xeon,
// AVX-512).
constexpr double kTileByteLate = 0.25;
// A pixel of a group, on its way to or from a tile: between it and the next lie other groups'. 32
// groups of 16 channels at 28x28, NHWC, by depthwise: 864 -> 751 us (Xeon, AVX-512).
constexpr double kTilePixelAlone = 6.0;
// Of planes, what a part of a vector takes more for each row of taps, and a vector from beyond L2
// beside one of direct, which goes along the rows. A multiplier of 4, 3x3, 64 channels, NCHW, by
// direct: at 56x56 389 -> 278 us, at 112x112 by 2 480 -> 374 (Xeon, AVX2).
constexpr double kMaskedRow = 1.2;
constexpr double kPlaneFar = 1.1;
// The same of short vectors from memory, where prefetchers follow no strides: 1024x1024, 3x3, by
// direct 1570 -> 890 us, 32 channels of 224x224, 5x5 dilated by 2, 4620 -> 2770 (Zen 3).
constexpr double kPlaneMemory = 10.0;
// Where a level has no masks, a vector of a plane that reaches into the padding, and one of outputs
// that ends before its last lane. Transposed, 1152 channels 5x5 at 7x7, NCHW, 470 -> 123 us, 480
// 3x3 at 14x14 238 -> 112 (Xeon, SSE4).
constexpr double kLoadSome = 6.0;
constexpr double kStoreSome = 30.0;
constexpr double kStoreScalar = 1.5;  // one element through a scratch tile

// Do lines so many floats apart fall into few sets of L1? Rows at such a distance evict each other.
constexpr bool aliases(std::int64_t pitch) noexcept { return pitch % 512 == 0; }

}  // namespace fastconv
