// A pixel's label is 1 + the place of a pixel of its region: at first its own, in the end the region's first.
extern "C" __global__ void begin(const unsigned char *image, int *labels, int pixels, int threshold) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < pixels) labels[i] = image[i] >= threshold ? i + 1 : 0;
}

// Each bright pixel takes the least label around it.
extern "C" __global__ void spread(const int *labels, int *next, unsigned *moved, int width, int height) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    size_t i = (size_t)y * width + x;
    int own = labels[i], least = own;
    if (own) {
        for (int v = max(y - 1, 0); v <= min(y + 1, height - 1); ++v)
            for (int u = max(x - 1, 0); u <= min(x + 1, width - 1); ++u) {
                int label = labels[(size_t)v * width + u];
                if (label) least = min(least, label);
            }
        // The pixel that the label names may know of a lower one: so labels travel further with every round.
        least = min(least, labels[least - 1]);
    }
    next[i] = least;
    if (least != own) atomicMax(moved, 1u);
}
