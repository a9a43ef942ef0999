// Shortest paths between all vertices, Floyd and Warshall's: one launch for each vertex on the way.

extern "C" __global__ void relax_through(int* distance, int* through, int via, int n) {
    const int to = blockIdx.x * blockDim.x + threadIdx.x, from = blockIdx.y * blockDim.y + threadIdx.y;
    if (from >= n || to >= n || from == via || to == via) return;
    const int length = distance[from * n + via] + distance[via * n + to];
    if (length < distance[from * n + to]) {
        distance[from * n + to] = length;
        through[from * n + to] = via;
    }
}
