// What of C++ device code uses.

__constant__ int primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};
__constant__ struct {
    float scale;
    int offset;
} settings = {0.5f, 3};
__device__ unsigned counter;
__device__ const float weights[2][2] = {{1.0f, 2.0f}, {3.0f, 4.0f}};

// Two kinds of dynamic shared memory in one file, under one name.
extern "C" __global__ void __launch_bounds__(256, 2) as_floats(const float* __restrict__ in, float* __restrict__ out) {
    extern __shared__ float dynamic[];
    __shared__ float fixed[64];
    dynamic[threadIdx.x] = in[threadIdx.x];
    fixed[threadIdx.x % 64] = 1.0f;
    __syncthreads();
    out[threadIdx.x] = dynamic[blockDim.x - 1 - threadIdx.x] + fixed[threadIdx.x % 64];
}

extern "C" __global__ void as_pairs(const int2* in, int2* out) {
    extern __shared__ int2 pairs[];
    pairs[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    const int2 other = pairs[threadIdx.x ^ 1];
    out[threadIdx.x] = make_int2(other.y, other.x);
}

// Several arrays carved out of one.
extern "C" __global__ void carved(const double* in, double* out, int n) {
    extern __shared__ __align__(16) unsigned char raw[];
    double* values = reinterpret_cast<double*>(raw);
    int* places = reinterpret_cast<int*>(values + n);
    values[threadIdx.x] = in[threadIdx.x];
    places[threadIdx.x] = (threadIdx.x + 1) % n;
    __syncthreads();
    out[threadIdx.x] = values[places[threadIdx.x]];
}

struct Vector {
    float x, y;

    __host__ __device__ Vector(float x = 0, float y = 0) : x(x), y(y) {}
    __device__ __forceinline__ Vector operator+(const Vector& other) const { return {x + other.x, y + other.y}; }
    __device__ __forceinline__ Vector& operator*=(float by) { return x *= by, y *= by, *this; }
    __device__ float dot(const Vector& other) const { return x * other.x + y * other.y; }
    static __device__ Vector unit() { return Vector(1.0f); }
};

template <typename T, int n>
struct Stack {
    T values[n];
    int size = 0;

    __device__ void push(T value) { values[size++] = value; }
    __device__ T pop() { return values[--size]; }
    __device__ bool empty() const { return size == 0; }
};

template <typename F>
__device__ __noinline__ float integrate(F f, int steps) {
    float sum = 0.0f;
#pragma unroll 4
    for (int i = 0; i < steps; ++i) sum += f((i + 0.5f) / steps);
    return sum / steps;
}

template <typename T>
__device__ T sum_of(T value) {
    return value;
}
template <typename T, typename... Others>
__device__ T sum_of(T first, Others... others) {
    return first + sum_of<T>(others...);
}

template <bool square>
__device__ float powered(float x) {
    if constexpr (square) return x * x;
    else return x;
}

__device__ float twice(float x) { return 2 * x; }
__device__ float thrice(float x) { return 3 * x; }

enum class Kind : unsigned char { plain, negated };

union Bits {
    float number;
    unsigned word;
};

__device__ int ackermann(int m, int n) {
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

extern "C" __global__ void features(float* out, float a) {
    int row = 0;
    auto put = [&](float value) { out[row++] = value; };

    Vector v = Vector(a, 1.0f) + Vector::unit();
    v *= 2.0f;
    put(v.dot({1.0f, 10.0f}));

    Stack<int, 8> stack;
    for (int i = 0; i < 5; ++i) stack.push(i * i);
    int total = 0;
    while (!stack.empty()) total = 10 * total + stack.pop() % 10;
    put((float)total);

    put(integrate([=](float x) { return a * x * x; }, 1000));
    put(integrate([](auto x) { return x; }, 8));
    put(sum_of(1.0f, 2.0f, a));
    put(powered<true>(a) + powered<false>(a));

    float (*functions[2])(float) = {twice, thrice};
    put(functions[(int)a % 2](a));

    const Kind kind = a > 2 ? Kind::negated : Kind::plain;
    switch (kind) {
        case Kind::plain: put(a); break;
        case Kind::negated: put(-a); break;
    }

    Bits bits;
    bits.number = a;
    bits.word ^= 0x80000000u;
    put(bits.number);

    put((float)ackermann(2, 3));
    put(settings.scale * a + settings.offset + primes[(int)a] + weights[1][0]);

    float sum = 0;
    for (const int prime : primes) sum += prime;
    put(sum);

    const auto [low, high] = make_int2(3, 4);
    put(low * 10 + high);

    constexpr unsigned char text[] = "kernel";
    put(text[0] + sizeof text);
    put(1'000 + 0b101);
}

extern "C" __global__ void count() { atomicAdd(&counter, 1u); }

extern "C" __global__ void vectors(const char4* in, float4* out, ulonglong2* wide) {
    const char4 c = in[threadIdx.x];
    out[threadIdx.x] = make_float4(c.x, c.y, c.z, c.w);
    wide[threadIdx.x] = make_ulonglong2(sizeof(float3) * 100 + alignof(float4), sizeof(dim3) * 100 + alignof(double2));
}
