typedef unsigned long long Sum;

// Colours are held in 64ths, so that a centre is finer than the image and still a whole number.
#define STEPS 64

// The threads of a block share out what is to be done for every colour.
#define FOR_EACH(i, count) for (int i = threadIdx.x; i < (count); i += blockDim.x)

extern "C" __global__ void begin(const unsigned char *palette, short *centres, int colours) {
    FOR_EACH(i, 3 * colours) centres[i] = STEPS * palette[i];
}

// Every pixel goes to the nearest centre, the first of several. Sums are made in shared memory first, then once per
// block in global memory; whole numbers come to the same in every order.
extern "C" __global__ void assign(const unsigned char *image, const short *centres, unsigned char *labels, Sum *tallies,
                                  Sum *total, int colours, long long pixels) {
    extern __shared__ unsigned tally[];          // four per colour: red, green, blue, pixels
    short *centre = (short *)(tally + 4 * colours);
    __shared__ Sum distances;
    FOR_EACH(i, 4 * colours) tally[i] = 0;
    FOR_EACH(i, 3 * colours) centre[i] = centres[i];
    if (threadIdx.x == 0) distances = 0;
    __syncthreads();
    Sum mine = 0;
    long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < pixels; i += stride) {
        int red = image[3 * i], green = image[3 * i + 1], blue = image[3 * i + 2], nearest = 0, least = 0x7fffffff;
        for (int c = 0; c < colours; ++c) {
            int r = STEPS * red - centre[3 * c], g = STEPS * green - centre[3 * c + 1],
                b = STEPS * blue - centre[3 * c + 2], distance = r * r + g * g + b * b;
            if (distance < least) least = distance, nearest = c;
        }
        labels[i] = nearest;
        mine += least;
        atomicAdd(&tally[4 * nearest], red);
        atomicAdd(&tally[4 * nearest + 1], green);
        atomicAdd(&tally[4 * nearest + 2], blue);
        atomicAdd(&tally[4 * nearest + 3], 1);
    }
    atomicAdd(&distances, mine);
    __syncthreads();
    FOR_EACH(i, 4 * colours) if (tally[i]) atomicAdd(&tallies[i], (Sum)tally[i]);
    if (threadIdx.x == 0) atomicAdd(total, distances);
}

// Every centre to the mean of its pixels; one without pixels stays. `moved` becomes the sum of all ways.
extern "C" __global__ void move(const Sum *tallies, short *centres, unsigned *moved, int colours) {
    FOR_EACH(i, 3 * colours) {
        Sum sum = tallies[4 * (i / 3) + i % 3], pixels = tallies[4 * (i / 3) + 3];
        if (pixels == 0) continue;
        int mean = (int)((STEPS * sum + pixels / 2) / pixels);
        atomicAdd(moved, (unsigned)abs(mean - centres[i]));
        centres[i] = mean;
    }
}

// The centres, if they are better than those kept so far.
extern "C" __global__ void keep(const short *centres, const Sum *total, short *best, Sum *least, int colours) {
    bool is_better = *total < *least;
    __syncthreads();                             // before *least changes, all have read it
    if (!is_better) return;
    FOR_EACH(i, 3 * colours) best[i] = centres[i];
    if (threadIdx.x == 0) *least = *total;
}

extern "C" __global__ void finish(const short *centres, const Sum *tallies, const Sum *total, unsigned char *palette,
                                  unsigned *sizes, double *distortion, int colours, long long pixels) {
    FOR_EACH(i, 3 * colours) palette[i] = (centres[i] + STEPS / 2) / STEPS;
    FOR_EACH(c, colours) sizes[c] = (unsigned)tallies[4 * c + 3];
    if (threadIdx.x == 0) *distortion = (double)*total / (STEPS * STEPS) / pixels;
}
