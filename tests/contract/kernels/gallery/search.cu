// Every place of a pattern in a text: the pattern in constant memory, the text's part and what follows it in shared.

#define MOST_PATTERN 64

__constant__ char pattern[MOST_PATTERN];

extern "C" __global__ void search(const char* __restrict__ text, int length, int wanted, unsigned char* matches,
                                  int* count) {
    extern __shared__ char part[];
    const int start = blockIdx.x * blockDim.x, i = start + threadIdx.x;
    for (int k = threadIdx.x; k < static_cast<int>(blockDim.x) + wanted - 1; k += blockDim.x) {
        part[k] = start + k < length ? text[start + k] : '\0';
    }
    __syncthreads();
    bool is_match = i + wanted <= length;
    for (int k = 0; is_match && k < wanted; ++k) is_match = part[threadIdx.x + k] == pattern[k];
    if (i < length) matches[i] = is_match;
    const int found = __syncthreads_count(is_match);
    if (threadIdx.x == 0 && found > 0) atomicAdd(count, found);
}
