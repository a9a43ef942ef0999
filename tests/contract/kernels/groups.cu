// Cooperative groups.

#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

namespace cg = cooperative_groups;

// The sum of a block's values by one tile after the other.
extern "C" __global__ void sums(const float* in, float* total, int n) {
    __shared__ float of_tiles[32];
    const auto block = cg::this_thread_block();
    const auto tile = cg::tiled_partition<32>(block);
    const unsigned i = block.group_index().x * block.size() + block.thread_rank();
    float value = i < n ? in[i] : 0.0f;
    for (int delta = tile.size() / 2; delta > 0; delta /= 2) value += tile.shfl_down(value, delta);
    if (tile.thread_rank() == 0) of_tiles[tile.meta_group_rank()] = value;
    cg::sync(block);
    if (tile.meta_group_rank() == 0) {
        value = tile.thread_rank() < tile.meta_group_size() ? of_tiles[tile.thread_rank()] : 0.0f;
        value = cg::reduce(tile, value, cg::plus<float>());
        if (tile.thread_rank() == 0) atomicAdd(total, value);
    }
}

// Ranks and sizes of everything, from a block of several dimensions.
extern "C" __global__ void ranks(unsigned* out) {
    const cg::thread_block block = cg::this_thread_block();
    const auto tile = cg::tiled_partition<16>(block);
    const auto inner = cg::tiled_partition<4>(tile);
    const auto grid = cg::this_grid();
    unsigned* mine = out + 14 * grid.thread_rank();
    mine[0] = block.thread_rank();
    mine[1] = block.size();
    mine[2] = block.group_index().y;
    mine[3] = block.thread_index().z;
    mine[4] = block.dim_threads().x;
    mine[5] = tile.thread_rank();
    mine[6] = tile.size();
    mine[7] = tile.meta_group_rank();
    mine[8] = tile.meta_group_size();
    mine[9] = inner.thread_rank();
    mine[10] = inner.meta_group_rank();
    mine[11] = inner.meta_group_size();
    mine[12] = (unsigned)grid.size();
    mine[13] = cg::thread_rank(block) + 1000 * cg::group_size(tile);
}

template <int size>
__device__ void exchange(const int* in, int* out, int n) {
    const auto tile = cg::tiled_partition<size>(cg::this_thread_block());
    const int x = in[threadIdx.x];
    int row = 0, same;
    auto put = [&](int value) { out[row++ * n + threadIdx.x] = value; };
    put(tile.shfl(x, size - 1));
    put(tile.shfl_down(x, 1));
    put(tile.shfl_up(x, 1));
    put(tile.shfl_xor(x, size / 2));
    put(tile.any(x > 0));
    put(tile.all(x > 0));
    put(tile.ballot(x > 0));
    put(tile.match_any(x % 3));
    put(cg::reduce(tile, x, cg::plus<int>()));
    put(cg::reduce(tile, x, cg::less<int>()));
    put(cg::reduce(tile, x, cg::greater<int>()));
    put(cg::reduce(tile, x, cg::bit_xor<int>()));
    put(cg::inclusive_scan(tile, x));
    put(cg::exclusive_scan(tile, x, cg::plus<int>()));
    put(tile.match_all(x, same) != 0 ? same : -same);
    tile.sync();
}

extern "C" __global__ void exchange1(const int* in, int* out, int n) { exchange<1>(in, out, n); }
extern "C" __global__ void exchange2(const int* in, int* out, int n) { exchange<2>(in, out, n); }
extern "C" __global__ void exchange4(const int* in, int* out, int n) { exchange<4>(in, out, n); }
extern "C" __global__ void exchange8(const int* in, int* out, int n) { exchange<8>(in, out, n); }
extern "C" __global__ void exchange16(const int* in, int* out, int n) { exchange<16>(in, out, n); }
extern "C" __global__ void exchange32(const int* in, int* out, int n) { exchange<32>(in, out, n); }

// One atomic for all lanes that count, wherever in the code they are together.
extern "C" __global__ void count_positive(const int* in, int* count, int* places) {
    if (in[threadIdx.x] > 0) {
        const auto together = cg::coalesced_threads();
        int start;
        if (together.thread_rank() == 0) start = atomicAdd(count, together.size());
        places[threadIdx.x] = together.shfl(start, 0) + together.thread_rank();
    }
}

extern "C" __global__ void coalesced(const int* in, int* out, int n) {
    if (threadIdx.x % 3 != 0) return;
    const auto group = cg::coalesced_threads();
    const int x = in[threadIdx.x];
    int row = 0;
    auto put = [&](int value) { out[row++ * n + threadIdx.x] = value; };
    put(group.size());
    put(group.thread_rank());
    put(group.shfl_down(x, 1));
    put(group.shfl_up(x, 2));
    put(group.ballot(x > 0));
    put(cg::reduce(group, x, cg::plus<int>()));
    put(cg::tiled_partition(group, 4).size());
}

extern "C" __global__ void partitions(const int* in, int* out, int n) {
    const auto tile = cg::tiled_partition<32>(cg::this_thread_block());
    const auto labeled = cg::labeled_partition(tile, in[threadIdx.x]);
    const auto binary = cg::binary_partition(tile, in[threadIdx.x] % 2 == 1);
    out[threadIdx.x] = labeled.size();
    out[n + threadIdx.x] = labeled.thread_rank();
    out[2 * n + threadIdx.x] = binary.size();
    out[3 * n + threadIdx.x] = binary.thread_rank();
}

// A function that takes any group, as in many tutorials.
__device__ int sum_of_group(cg::thread_group group, int* scratch, int value) {
    const int lane = group.thread_rank();
    for (int i = group.size() / 2; i > 0; i /= 2) {
        scratch[lane] = value;
        group.sync();
        if (lane < i) value += scratch[lane + i];
        group.sync();
    }
    return value;
}

extern "C" __global__ void by_any_group(const int* in, int* of_block, int* of_tiles) {
    extern __shared__ int scratch[];
    const auto block = cg::this_thread_block();
    int sum = sum_of_group(block, scratch, in[threadIdx.x]);
    if (block.thread_rank() == 0) *of_block = sum;
    block.sync();
    const cg::thread_group tile = cg::tiled_partition(block, 8);
    sum = sum_of_group(tile, scratch + threadIdx.x / 8 * 8, in[threadIdx.x]);
    if (tile.thread_rank() == 0) of_tiles[threadIdx.x / 8] = sum;
}

struct Wide {
    double a, b;
    int c;
};

// Structures travel too, and a whole block copies.
extern "C" __global__ void copies(const float* in, float* out, double* wide) {
    __shared__ float staged[96];
    const auto block = cg::this_thread_block();
    cg::memcpy_async(block, staged, in, sizeof(float) * 96);
    cg::wait(block);
    out[threadIdx.x] = staged[95 - threadIdx.x];
    const auto tile = cg::tiled_partition<32>(block);
    const Wide value = tile.shfl(Wide{threadIdx.x * 1.5, -1.0 * threadIdx.x, (int)threadIdx.x}, 5);
    wide[threadIdx.x] = value.a + value.b + value.c;
}
