// What ATen asks of CUDA: a device guard, hooks and page-locked memory, which do nothing but say yes.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Generator.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Stream;

namespace {

const Device kDevice(DeviceType::CUDA, 0);

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device) const override { return kDevice; }
  Device getDevice() const override { return kDevice; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, kDevice); }
  Stream getNewStream(Device, int = 0) const override { return Stream(Stream::DEFAULT, kDevice); }
  Stream exchangeStream(Stream) const noexcept override { return Stream(Stream::DEFAULT, kDevice); }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const Stream&, const DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
};

std::mutex lock;
std::map<uintptr_t, size_t> locked;

void release(void* start) {
  {
    std::lock_guard<std::mutex> held(lock);
    locked.erase(reinterpret_cast<uintptr_t>(start));
  }
  std::free(start);
}

struct PageLocked final : public at::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* start = nullptr;
    if (bytes && posix_memalign(&start, 64, bytes)) start = nullptr;
    if (start) {
      std::lock_guard<std::mutex> held(lock);
      locked[reinterpret_cast<uintptr_t>(start)] = bytes;
    }
    return {start, start, &release, Device(DeviceType::CPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};

PageLocked allocator;

bool is_page_locked(const void* data) {
  std::lock_guard<std::mutex> held(lock);
  const auto address = reinterpret_cast<uintptr_t>(data);
  auto found = locked.upper_bound(address);
  if (found == locked.begin()) return false;
  --found;
  return address < found->first + found->second;
}

struct Hooks final : public at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex getCurrentDevice() const override { return 0; }
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex current_device() const override { return 0; }
  int getNumGPUs() const override { return 1; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isPinnedPtr(const void* data) const override { return is_page_locked(data); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &allocator; }
  const at::Generator& getDefaultGenerator(DeviceIndex = -1) const override {
    static at::Generator generator = at::detail::createCPUGenerator();
    return generator;
  }
};

// Registered by hand: the macro for guards forms a name from that of the device alone.
c10::impl::DeviceGuardImplRegistrar guard(DeviceType::CUDA, new Guard());

}  // namespace

// Of two that answer to the name, that of a build of torch with CUDA is passed over.
namespace at {
C10_REGISTER_TYPED_CLASS_WITH_PRIORITY(CUDAHooksRegistry, "CUDAHooks", c10::REGISTRY_PREFERRED, ::Hooks)
}
