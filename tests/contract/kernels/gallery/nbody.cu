// Gravity between all pairs, the bodies by tiles through dynamic shared memory. A body is x, y, z and mass.

extern "C" __global__ void accelerations(const float4* __restrict__ bodies, float4* __restrict__ out, int n,
                                         float softening) {
    extern __shared__ float4 tile[];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float4 me = i < n ? bodies[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float3 sum = make_float3(0.0f, 0.0f, 0.0f);
    for (int start = 0; start < n; start += blockDim.x) {
        const int other = start + threadIdx.x;
        tile[threadIdx.x] = other < n ? bodies[other] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        __syncthreads();
#pragma unroll 4
        for (unsigned k = 0; k < blockDim.x; ++k) {
            const float4 body = tile[k];
            const float dx = body.x - me.x, dy = body.y - me.y, dz = body.z - me.z;
            const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + softening);
            const float factor = body.w * inverse * inverse * inverse;
            sum.x += factor * dx;
            sum.y += factor * dy;
            sum.z += factor * dz;
        }
        __syncthreads();
    }
    if (i < n) out[i] = make_float4(sum.x, sum.y, sum.z, 0.0f);
}
