extern "C" __global__ void normalise(float *weights, float *z, int n) {
    float sum = 0;
    for (int i = 0; i < n; ++i) sum += weights[i];
    for (int i = 0; i < n; ++i) z[i] = weights[i] /= sum;
}
