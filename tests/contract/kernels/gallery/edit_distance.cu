// Levenshtein's distance along diagonals: all cells of one are independent, three of them are kept in shared memory.

extern "C" __global__ void edit_distance(const char* a, int rows, const char* b, int columns, int* out) {
    extern __shared__ int diagonals[];
    const int pitch = rows + 1;
    for (int diagonal = 0; diagonal <= rows + columns; ++diagonal) {
        int* const now = diagonals + diagonal % 3 * pitch;
        const int* const last = diagonals + (diagonal + 2) % 3 * pitch;
        const int* const before = diagonals + (diagonal + 1) % 3 * pitch;
        const int first = max(0, diagonal - columns), end = min(rows, diagonal);
        for (int i = first + threadIdx.x; i <= end; i += blockDim.x) {
            const int j = diagonal - i;
            if (i == 0 || j == 0) {
                now[i] = i + j;
            } else {
                now[i] = min(min(last[i - 1], last[i]) + 1, before[i - 1] + (a[i - 1] != b[j - 1]));
            }
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) *out = diagonals[(rows + columns) % 3 * pitch + rows];
}
