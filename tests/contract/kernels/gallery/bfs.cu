// Breadth-first search, a level per launch: a thread takes a vertex of the frontier and claims its neighbours.

extern "C" __global__ void expand(const int* starts, const int* neighbours, int* distance, const int* frontier, int size,
                                  int* next, int* next_size, int level) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const int vertex = frontier[i];
    for (int k = starts[vertex]; k < starts[vertex + 1]; ++k) {
        const int other = neighbours[k];
        if (atomicCAS(&distance[other], -1, level) == -1) next[atomicAdd(next_size, 1)] = other;
    }
}
