// Pointers into the middle of buffers, at any multiple of four bytes.

extern "C" __global__ void add_views(const float* a, const float* b, float* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = a[i] + b[i];
}

// Moves a window of a matrix into another matrix; the host gives the first elements and the pitches.
extern "C" __global__ void copy_window(const int* from, int from_pitch, int* to, int to_pitch, int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height) to[y * to_pitch + x] = from[y * from_pitch + x];
}

// What a pointer's place within its buffer and to others is: differences count elements, and order is by address.
extern "C" __global__ void compare(const float* first, const float* second, long long* out) {
    out[0] = second - first;
    out[1] = first < second;
    out[2] = static_cast<long long>(reinterpret_cast<size_t>(second) % 256);
    out[3] = reinterpret_cast<const char*>(second) - reinterpret_cast<const char*>(first);
}
