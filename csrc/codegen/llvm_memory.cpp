// Loads and stores. Nothing is assumed of alignment beyond the element's own.
#include "base/error.h"
#include "codegen/llvm_kernel.h"

namespace ourjit {

namespace {

llvm::Align alignment(DType t) { return llvm::Align(static_cast<uint64_t>(dtype_bytes(t))); }

}  // namespace

Value* KernelEmitter::element_pointer(const std::string& memory, Value* index) {
  const auto it = memory_.find(memory);
  OURJIT_CHECK(it != memory_.end()) << "@" << k_.name << " has no memory named " << memory;
  return ir_.CreateGEP(builder_.memory_type(loop::memory_dtype(k_, memory)), it->second, index);
}

Value* KernelEmitter::lane_pointers(DType t, const std::string& memory, const LaneAddress& at) {
  Value* base = element_pointer(memory, at.base);
  return ir_.CreateGEP(builder_.memory_type(t), base, at.offsets);
}

void KernelEmitter::load(const loop::Load& l) {
  const DType t = loop::memory_dtype(k_, l.buffer);
  const LaneAddress at = index_.address(l.index);
  Value* mask = l.mask == loop::kNone ? nullptr : value(l.mask);
  if (at.form == LaneAddress::Form::Uniform) {
    value(l.result) = load_uniform(l, at.base);
    return;
  }
  Value* v = load_lanes(t, l.buffer, at, with_lane_mask(mask));
  value(l.result) = builder_.from_memory(v, t);
}

Value* KernelEmitter::load_uniform(const loop::Load& l, Value* index) {
  const DType t = loop::memory_dtype(k_, l.buffer);
  const auto read = [&] {
    Value* p = element_pointer(l.buffer, index);
    return builder_.from_memory(ir_.CreateAlignedLoad(builder_.memory_type(t), p, alignment(t)), t);
  };
  if (l.mask == loop::kNone) return read();
  Value* mask = value(l.mask);
  const unsigned lanes = lanes_of(mask);
  if (lanes > 1) mask = with_lane_mask(mask);
  Value* zero = llvm::Constant::getNullValue(builder_.type(t));
  Value* v = if_then(builder_.any(mask), {zero}, [&] { return Values{read()}; })[0];
  if (lanes == 1) return v;
  v = builder_.broadcast(v, lanes);
  return ir_.CreateSelect(mask, v, llvm::Constant::getNullValue(v->getType()));
}

Value* KernelEmitter::load_lanes(DType t, const std::string& memory, const LaneAddress& at,
                                 Value* mask) {
  using Form = LaneAddress::Form;
  llvm::Type* type = builder_.memory_type(t, lanes_);
  if (at.form == Form::Scattered) {
    Value* all =
        mask ? mask : llvm::Constant::getAllOnesValue(builder_.type(DType::boolean, lanes_));
    return ir_.CreateMaskedGather(type, lane_pointers(t, memory, at), alignment(t), all,
                                  llvm::Constant::getNullValue(type));
  }
  const bool reversed = at.form == Form::Reversed;
  Value* first = reversed ? ir_.CreateSub(at.base, builder_.i64(lanes_ - 1)) : at.base;
  Value* p = element_pointer(memory, first);
  Value* v = nullptr;
  if (mask) {
    Value* lanes = reversed ? ir_.CreateVectorReverse(mask) : mask;
    v = builder_.masked_load(t, p, lanes);
  } else {
    v = ir_.CreateAlignedLoad(type, p, alignment(t));
  }
  return reversed ? ir_.CreateVectorReverse(v) : v;
}

Value* KernelEmitter::add_to_memory(DType t, Value* old, Value* v) {
  const DType c = compute_dtype(t);
  Value* sum =
      builder_.compute(ScalarOp::add, c, c, {builder_.cast(old, t, c), builder_.cast(v, t, c)});
  return builder_.cast(sum, c, t);
}

void KernelEmitter::store(const loop::Store& s) {
  OURJIT_CHECK(!s.atomic) << "@" << k_.name << " adds atomically, which is for GPUs";
  const DType t = loop::memory_dtype(k_, s.buffer);
  LaneAddress at = index_.address(s.index);
  Value* v = value(s.value);
  Value* mask = s.mask == loop::kNone ? nullptr : value(s.mask);
  if (at.form == LaneAddress::Form::Uniform) {
    if (lanes_of(v) == 1 && (!mask || lanes_of(mask) == 1)) return store_uniform(s, t, at.base);
    // All lanes to one place: a scatter writes them in order, so that the last active one stays.
    at = {LaneAddress::Form::Scattered, at.base,
          llvm::Constant::getNullValue(builder_.type(DType::i32, lanes_))};
  }
  v = builder_.broadcast(v, lanes_);
  mask = with_lane_mask(mask);
  if (s.accumulate)
    v = add_to_memory(t, builder_.from_memory(load_lanes(t, s.buffer, at, mask), t), v);
  store_lanes(t, s.buffer, at, builder_.to_memory(v, t), mask);
}

void KernelEmitter::store_uniform(const loop::Store& s, DType t, Value* index) {
  const auto write = [&] {
    Value* p = element_pointer(s.buffer, index);
    Value* v = value(s.value);
    if (s.accumulate) {
      Value* old = ir_.CreateAlignedLoad(builder_.memory_type(t), p, alignment(t));
      v = add_to_memory(t, builder_.from_memory(old, t), v);
    }
    ir_.CreateAlignedStore(builder_.to_memory(v, t), p, alignment(t));
    return Values{};
  };
  if (s.mask == loop::kNone)
    write();
  else
    if_then(value(s.mask), {}, write);
}

void KernelEmitter::store_lanes(DType t, const std::string& memory, const LaneAddress& at, Value* v,
                                Value* mask) {
  using Form = LaneAddress::Form;
  if (at.form == Form::Scattered) {
    Value* all =
        mask ? mask : llvm::Constant::getAllOnesValue(builder_.type(DType::boolean, lanes_));
    ir_.CreateMaskedScatter(v, lane_pointers(t, memory, at), alignment(t), all);
    return;
  }
  const bool reversed = at.form == Form::Reversed;
  Value* first = reversed ? ir_.CreateSub(at.base, builder_.i64(lanes_ - 1)) : at.base;
  Value* p = element_pointer(memory, first);
  if (reversed) v = ir_.CreateVectorReverse(v);
  if (!mask) {
    ir_.CreateAlignedStore(v, p, alignment(t));
    return;
  }
  ir_.CreateMaskedStore(v, p, alignment(t), reversed ? ir_.CreateVectorReverse(mask) : mask);
}

}  // namespace ourjit
