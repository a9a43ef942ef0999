// One layer: out = scale * (weights in) + bias, and nothing below zero if it BENDS. One thread per output and point.
template <bool BENDS>
__global__ void dense(const float *in, const signed char *weights, const float *scale, const float *bias, float *out,
                      int points, int inputs, int outputs) {
    int o = blockIdx.x * blockDim.x + threadIdx.x, point = blockIdx.y * blockDim.y + threadIdx.y;
    if (o >= outputs || point >= points) return;
    in += (size_t)point * inputs;
    weights += (size_t)o * inputs;
    float sum = 0.0f;
    for (int i = 0; i < inputs; ++i) sum += weights[i] * in[i];
    sum = scale[o] * sum + bias[o];
    out[(size_t)point * outputs + o] = BENDS ? fmaxf(sum, 0.0f) : sum;
}

// The class with the highest score, and how many points each class has.
__global__ void choose(const float *scores, unsigned char *chosen, unsigned long long *counts, int points, int classes) {
    int point = blockIdx.x * blockDim.x + threadIdx.x;
    if (point >= points) return;
    scores += (size_t)point * classes;
    int best = 0;
    for (int c = 1; c < classes; ++c)
        if (scores[c] > scores[best]) best = c;
    chosen[point] = best;
    atomicAdd(&counts[best], 1ull);
}
