/* A libnvidia-ml.so.1 with one GPU, so that NVIDIA's own Python binding can be read without NVIDIA's driver. */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, VERSION_MISMATCH = 25 };
static int is_open;
static int gpu;

int nvmlInitWithFlags(unsigned flags) { (void)flags; is_open = 1; return SUCCESS; }
int nvmlShutdown(void) { is_open = 0; return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the driver's own"; }

/* The kernel writes four digits of the domain, NVML eight; both are read. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device) {
    unsigned domain, bus, slot, function;
    if (!is_open) return UNINITIALIZED;
    if (sscanf(address, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4) return INVALID_ARGUMENT;
    if (domain != 0 || bus != 1 || slot != 0) return NOT_FOUND;
    *device = &gpu;
    return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    (void)device;
    snprintf(name, length, "NVIDIA GeForce RTX 4060 Laptop GPU");
    return SUCCESS;
}
/* A driver that has the newer function and not the version of its argument. */
int nvmlDeviceGetTemperatureV(void *device, void *argument) { (void)device; (void)argument; return VERSION_MISMATCH; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
    (void)device;
    *celsius = 48;
    return sensor == 0 ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetTemperatureThreshold(void *device, int threshold, unsigned *celsius) {
    (void)device;
    *celsius = threshold == 1 ? 87 : 0;
    return SUCCESS;
}
int nvmlDeviceGetFanSpeed(void *device, unsigned *percent) { (void)device; (void)percent; return NOT_SUPPORTED; }
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { (void)device; *milliwatts = 23500; return SUCCESS; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    (void)device;
    *millijoules = 5000000000ULL; /* more than 32 bits hold */
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
    (void)device;
    rates[0] = 30;
    rates[1] = 1;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
    (void)device;
    memory[0] = 8ULL << 30; /* total, free, used */
    memory[1] = 7ULL << 30;
    memory[2] = 1ULL << 30;
    return SUCCESS;
}
/* No nvmlDeviceGetCurrentClocksEventReasons and no nvmlDeviceGetFanSpeedRPM: a driver of some years ago. */
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    (void)device;
    *reasons = 0x1 | 0x4 | 0x40;
    return SUCCESS;
}
