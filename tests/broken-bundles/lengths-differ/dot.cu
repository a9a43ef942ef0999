extern "C" __global__ void dot(const double *x, const double *window, double *z, int n) {
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += x[i] * window[i % 4];
    *z = sum;
}
