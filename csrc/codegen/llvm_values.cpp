#include "codegen/llvm_values.h"

#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/Intrinsics.h>

#include <bit>
#include <limits>

#include "base/error.h"
#include "base/scalar_eval.h"
#include "codegen/llvm_module.h"
#include "codegen/math.h"

namespace ourjit {

unsigned lanes_of(const Value* v) {
  const auto* t = llvm::dyn_cast<llvm::FixedVectorType>(v->getType());
  return t ? t->getNumElements() : 1;
}

namespace {
llvm::Type* with_lanes(llvm::Type* t, unsigned lanes) {
  return lanes == 1 ? t : llvm::FixedVectorType::get(t, lanes);
}
}  // namespace

ValueBuilder::ValueBuilder(llvm::IRBuilder<>& ir, llvm::Module& module, int vector_bits)
    : ir_(ir), module_(module), vector_bits_(vector_bits) {}

llvm::Type* ValueBuilder::type(DType t, unsigned lanes) {
  return is_bool(t) ? with_lanes(ir_.getInt1Ty(), lanes) : memory_type(t, lanes);
}

llvm::Type* ValueBuilder::memory_type(DType t, unsigned lanes) {
  const auto element = [&]() -> llvm::Type* {
    switch (t) {
      case DType::boolean:
      case DType::u8:
      case DType::i8:
      case DType::f8e4m3:
      case DType::f8e5m2:
        return ir_.getInt8Ty();
      case DType::i16:
      case DType::bf16:
        return ir_.getInt16Ty();
      case DType::i32:
        return ir_.getInt32Ty();
      case DType::i64:
        return ir_.getInt64Ty();
      case DType::f16:
        return ir_.getHalfTy();
      case DType::f32:
        return ir_.getFloatTy();
      case DType::f64:
        return ir_.getDoubleTy();
      default:
        break;
    }
    OURJIT_CHECK(false) << "kernels cannot compute with " << dtype_name(t);
    return nullptr;
  };
  return with_lanes(element(), lanes);
}

llvm::Constant* ValueBuilder::constant(DType t, uint64_t bits) {
  if (is_float(t)) {
    llvm::APFloat number(std::bit_cast<double>(bits));
    bool inexact = false;
    const auto convert = [&](const llvm::fltSemantics& to) {
      number.convert(to, llvm::APFloat::rmNearestTiesToEven, &inexact);
    };
    if (t == DType::f8e4m3 || t == DType::f8e5m2) {
      uint8_t byte = 0;
      store_scalar(&byte, Scalar::number(t, std::bit_cast<double>(bits)));
      return ir_.getInt8(byte);
    }
    // 16-bit floats are rounded by way of f32, as casts are.
    if (t != DType::f64) convert(llvm::APFloat::IEEEsingle());
    if (t == DType::f16) convert(llvm::APFloat::IEEEhalf());
    if (t == DType::bf16) {
      convert(llvm::APFloat::BFloat());
      return llvm::ConstantInt::get(ir_.getInt16Ty(), number.bitcastToAPInt());
    }
    return llvm::ConstantFP::get(module_.getContext(), number);
  }
  if (is_bool(t)) return ir_.getInt1(bits != 0);
  auto* integer = llvm::cast<llvm::IntegerType>(type(t));
  return llvm::ConstantInt::get(integer, llvm::APInt(64, bits).trunc(integer->getBitWidth()));
}

Value* ValueBuilder::like(const Value* v, double number) {
  return llvm::ConstantFP::get(v->getType(), number);
}

Value* ValueBuilder::like_int(const Value* v, int64_t number) {
  return llvm::ConstantInt::get(v->getType(), static_cast<uint64_t>(number), true);
}

Value* ValueBuilder::broadcast(Value* v, unsigned lanes) {
  const unsigned have = lanes_of(v);
  if (have == lanes) return v;
  OURJIT_CHECK(have == 1) << "a value of " << have << " lanes among values of " << lanes;
  return ir_.CreateVectorSplat(lanes, v);
}

void ValueBuilder::unify(std::vector<Value*>& values) {
  unsigned lanes = 1;
  for (const Value* v : values) lanes = std::max(lanes, lanes_of(v));
  for (Value*& v : values) v = broadcast(v, lanes);
}

llvm::Constant* ValueBuilder::iota(unsigned lanes, unsigned bits, int64_t step) {
  llvm::SmallVector<llvm::Constant*, 64> numbers;
  for (unsigned i = 0; i < lanes; ++i)
    numbers.push_back(llvm::ConstantInt::get(
        ir_.getIntNTy(bits), static_cast<uint64_t>(step * static_cast<int64_t>(i)), true));
  return llvm::ConstantVector::get(numbers);
}

Value* ValueBuilder::any(Value* v) { return lanes_of(v) == 1 ? v : ir_.CreateOrReduce(v); }

Value* ValueBuilder::slice(Value* v, unsigned first, unsigned count) {
  if (first == 0 && count == lanes_of(v)) return v;
  if (count == 1) return ir_.CreateExtractElement(v, first);
  llvm::SmallVector<int, 64> lanes;
  for (unsigned i = 0; i < count; ++i) lanes.push_back(static_cast<int>(first + i));
  return ir_.CreateShuffleVector(v, lanes);
}

Value* ValueBuilder::concat(const std::vector<Value*>& parts) {
  if (parts.size() == 1) return parts[0];
  std::vector<Value*> next;
  const unsigned n = lanes_of(parts[0]);
  llvm::SmallVector<int, 64> lanes;
  for (unsigned i = 0; i < 2 * n; ++i) lanes.push_back(static_cast<int>(i));
  OURJIT_CHECK(parts.size() % 2 == 0) << "lanes must be a power of two";
  for (size_t i = 0; i < parts.size(); i += 2)
    next.push_back(ir_.CreateShuffleVector(parts[i], parts[i + 1], lanes));
  return concat(next);
}

Value* ValueBuilder::to_memory(Value* v, DType t) {
  return is_bool(t) ? ir_.CreateZExt(v, memory_type(t, lanes_of(v))) : v;
}

Value* ValueBuilder::from_memory(Value* v, DType t) {
  return is_bool(t) ? ir_.CreateICmpNE(v, like_int(v, 0)) : v;
}

// Truncates; out of range as cvttps2dq and its kin: the most negative i32 (i64 for i64), of which
// narrower types keep the low bits. The poison of LLVM's own conversion is never selected.
Value* ValueBuilder::float_to_int(Value* v, DType to) {
  const bool wide = to == DType::i64;
  const unsigned lanes = lanes_of(v);
  llvm::Type* full = with_lanes(ir_.getIntNTy(wide ? 64 : 32), lanes);
  const bool f64 = v->getType()->getScalarType()->isDoubleTy();
  const double limit = wide ? 0x1p63 : 0x1p31;
  // The first number too small: for f64 to i32 it lies between -2^31 - 1 and -2^31.
  Value* above = !wide && f64 ? ir_.CreateFCmpOGT(v, like(v, -limit - 1))
                              : ir_.CreateFCmpOGE(v, like(v, -limit));
  Value* fits = ir_.CreateAnd(above, ir_.CreateFCmpOLT(v, like(v, limit)));
  Value* lowest = llvm::ConstantInt::get(full, llvm::APInt::getSignedMinValue(wide ? 64 : 32));
  Value* r = ir_.CreateSelect(fits, ir_.CreateFPToSI(v, full), lowest);
  return ir_.CreateTrunc(r, type(to, lanes));
}

// Round to nearest even in integer arithmetic: vcvtneps2bf16 would flush denormals.
Value* ValueBuilder::float_to_bf16(Value* v) {
  const unsigned lanes = lanes_of(v);
  Value* u = ir_.CreateBitCast(v, with_lanes(ir_.getInt32Ty(), lanes));
  Value* odd = ir_.CreateAnd(ir_.CreateLShr(u, like_int(u, 16)), like_int(u, 1));
  Value* rounded = ir_.CreateAdd(ir_.CreateAdd(u, like_int(u, 0x7FFF)), odd);
  Value* high = ir_.CreateLShr(rounded, like_int(u, 16));
  Value* r = ir_.CreateSelect(ir_.CreateFCmpUNO(v, v), like_int(u, 0x7FC0), high);
  return ir_.CreateTrunc(r, with_lanes(ir_.getInt16Ty(), lanes));
}

// The bits of e5m2 are the upper ones of a half. Those of e4m3 are an f32 of another bias, less the
// numbers whose exponent is 0: these are multiples of 2^-9.
Value* ValueBuilder::float8_to_float(Value* v, DType from) {
  const unsigned lanes = lanes_of(v);
  llvm::Type* f32 = type(DType::f32, lanes);
  if (from == DType::f8e5m2) {
    Value* wide = ir_.CreateZExt(v, with_lanes(ir_.getInt16Ty(), lanes));
    Value* half =
        ir_.CreateBitCast(ir_.CreateShl(wide, like_int(wide, 8)), type(DType::f16, lanes));
    return ir_.CreateFPExt(half, f32);
  }
  Value* x = ir_.CreateZExt(v, with_lanes(ir_.getInt32Ty(), lanes));
  Value* magnitude = ir_.CreateAnd(x, like_int(x, 0x7F));
  Value* sign = ir_.CreateShl(ir_.CreateAnd(x, like_int(x, 0x80)), like_int(x, 24));
  Value* large = ir_.CreateAdd(ir_.CreateShl(magnitude, like_int(x, 20)), like_int(x, 120 << 23));
  Value* multiple = ir_.CreateSIToFP(magnitude, f32);
  Value* small = ir_.CreateBitCast(ir_.CreateFMul(multiple, like(multiple, 0x1p-9)), x->getType());
  Value* bits = ir_.CreateSelect(ir_.CreateICmpULT(magnitude, like_int(x, 8)), small, large);
  bits = ir_.CreateSelect(ir_.CreateICmpEQ(magnitude, like_int(x, 0x7F)), like_int(x, 0x7FC00000),
                          bits);
  return ir_.CreateBitCast(ir_.CreateOr(bits, sign), f32);
}

// To nearest, ties to even, as c10/util/Float8_*.h: numbers whose exponent is 0 are rounded by an
// addition that pushes the other bits out, the others in integer arithmetic.
Value* ValueBuilder::float_to_float8(Value* v, DType to) {
  const bool e4m3 = to == DType::f8e4m3;
  const int mantissa = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15, dropped = 23 - mantissa;
  const unsigned lanes = lanes_of(v);
  llvm::Type* i32 = with_lanes(ir_.getInt32Ty(), lanes);
  Value* u = ir_.CreateBitCast(v, i32);
  const auto number = [&](int64_t x) { return like_int(u, x); };
  Value* magnitude = ir_.CreateAnd(u, number(0x7FFFFFFF));
  Value* sign = ir_.CreateAnd(ir_.CreateLShr(u, number(24)), number(0x80));
  // 2^(1 - bias) has its lowest bit `mantissa` places below.
  const int64_t push = int64_t{127 + 1 - bias - mantissa + 23} << 23;
  Value* pushed = ir_.CreateFAdd(ir_.CreateBitCast(magnitude, v->getType()),
                                 ir_.CreateBitCast(number(push), v->getType()));
  Value* small = ir_.CreateSub(ir_.CreateBitCast(pushed, i32), number(push));
  Value* odd = ir_.CreateAnd(ir_.CreateLShr(magnitude, number(dropped)), number(1));
  const int64_t rebias = (int64_t{bias - 127} << 23) + (int64_t{1} << (dropped - 1)) - 1;
  Value* large =
      ir_.CreateLShr(ir_.CreateAdd(ir_.CreateAdd(magnitude, number(rebias)), odd), number(dropped));
  Value* r = ir_.CreateSelect(ir_.CreateICmpULT(magnitude, number(int64_t{127 + 1 - bias} << 23)),
                              small, large);
  // 464 and 65536 and more; NaN is above infinity.
  const int64_t beyond = e4m3 ? 0x43E80000 : 0x47800000;
  Value* special = ir_.CreateSelect(ir_.CreateICmpUGT(magnitude, number(0x7F800000)), number(0x7F),
                                    number(e4m3 ? 0x7E : 0x7C));
  r = ir_.CreateSelect(ir_.CreateICmpUGE(magnitude, number(beyond)), special, r);
  return ir_.CreateTrunc(ir_.CreateOr(r, sign), with_lanes(ir_.getInt8Ty(), lanes));
}

Value* ValueBuilder::cast(Value* v, DType from, DType to) {
  if (from == to) return v;
  const unsigned lanes = lanes_of(v);
  llvm::Type* f32 = type(DType::f32, lanes);
  // Narrow floats take part by way of f32.
  if (from == DType::f8e4m3 || from == DType::f8e5m2)
    return cast(float8_to_float(v, from), DType::f32, to);
  if (from == DType::bf16) {
    Value* wide = ir_.CreateZExt(v, with_lanes(ir_.getInt32Ty(), lanes));
    return cast(ir_.CreateBitCast(ir_.CreateShl(wide, like_int(wide, 16)), f32), DType::f32, to);
  }
  if (from == DType::f16) return cast(ir_.CreateFPExt(v, f32), DType::f32, to);
  if (to == DType::bf16) return float_to_bf16(cast(v, from, DType::f32));
  if (to == DType::f8e4m3 || to == DType::f8e5m2)
    return float_to_float8(cast(v, from, DType::f32), to);
  if (to == DType::f16) return ir_.CreateFPTrunc(cast(v, from, DType::f32), type(to, lanes));

  llvm::Type* target = type(to, lanes);
  if (is_float(from)) {
    if (is_bool(to)) return ir_.CreateFCmpUNE(v, like(v, 0));
    return is_float(to) ? ir_.CreateFPCast(v, target) : float_to_int(v, to);
  }
  if (is_bool(to)) return ir_.CreateICmpNE(v, like_int(v, 0));
  if (is_bool(from) && is_float(to))
    return ir_.CreateSelect(v, llvm::ConstantFP::get(target, 1), llvm::ConstantFP::get(target, 0));
  const bool is_signed = dtype_kind(from) == DTypeKind::Signed;
  if (is_float(to)) {
    // Of bits below 32 the conversion from i32 is exact and a single instruction.
    if (dtype_bytes(from) < 4)
      v = ir_.CreateIntCast(v, with_lanes(ir_.getInt32Ty(), lanes), is_signed);
    return ir_.CreateSIToFP(v, target);
  }
  return ir_.CreateIntCast(v, target, is_signed);
}

std::vector<Value*> ValueBuilder::registers(Value* v, unsigned native) {
  const unsigned lanes = lanes_of(v);
  if (lanes == 1) return {broadcast(v, native)};
  std::vector<Value*> parts;
  if (lanes < native) {
    llvm::SmallVector<int, 64> fill;
    for (unsigned i = 0; i < native; ++i) fill.push_back(static_cast<int>(std::min(i, lanes - 1)));
    parts.push_back(ir_.CreateShuffleVector(v, fill));
    return parts;
  }
  for (unsigned i = 0; i < lanes; i += native) parts.push_back(slice(v, i, native));
  return parts;
}

Value* ValueBuilder::masked_load(DType t, Value* p, Value* mask) {
  const unsigned lanes = lanes_of(mask);
  const unsigned native = static_cast<unsigned>(vector_bits_ / (8 * dtype_bytes(t)));
  // Below AVX-512, LLVM 19 takes a register of lanes that are all off, of a load of several
  // registers, for one of lanes that are all on: it never sees such a load.
  const unsigned piece = vector_bits_ < 512 ? std::min(lanes, native) : lanes;
  const llvm::Align alignment(static_cast<uint64_t>(dtype_bytes(t)));
  llvm::Type* type = memory_type(t, piece);
  std::vector<Value*> parts;
  for (unsigned i = 0; i < lanes; i += piece)
    parts.push_back(ir_.CreateMaskedLoad(
        type, i == 0 ? p : ir_.CreateConstGEP1_64(memory_type(t), p, i), alignment,
        piece == lanes ? mask : slice(mask, i, piece), llvm::Constant::getNullValue(type)));
  return parts.size() == 1 ? parts[0] : concat(parts);
}

std::string ValueBuilder::bitcode_name(ScalarOp op, DType t) {
  return kBitcodePrefix + std::string(math_row(op).llvm) + "_" + std::string(dtype_name(t));
}

unsigned ValueBuilder::wide_lanes(ScalarOp op, DType t) const {
  if (t != DType::f32 || !has_wide_form(op)) return 0;
  return static_cast<unsigned>(kWideRegisters * vector_bits_ / 32);
}

// By way of memory that mem2reg removes once the function is inlined.
Value* ValueBuilder::call_wide(ScalarOp op, Value* x, Value* seed) {
  const unsigned at_once = wide_lanes(op, DType::f32), lanes = lanes_of(x);
  llvm::Type* from = with_lanes(x->getType()->getScalarType(), at_once);
  llvm::Type* to = type(DType::f32, at_once);
  llvm::Type* ptr = ir_.getPtrTy();
  std::vector<llvm::Type*> params{ptr, ptr};
  if (seed) params.insert(params.begin(), ir_.getInt64Ty());
  const llvm::FunctionCallee callee =
      module_.getOrInsertFunction(bitcode_name(op, DType::f32) + kWideSuffix,
                                  llvm::FunctionType::get(ir_.getVoidTy(), params, false));
  llvm::BasicBlock& entry = ir_.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> first(&entry, entry.begin());
  std::vector<Value*> results;
  for (unsigned i = 0; i < lanes; i += at_once) {
    Value *operand = first.CreateAlloca(from), *result = first.CreateAlloca(to);
    ir_.CreateStore(slice(x, i, at_once), operand);
    llvm::SmallVector<Value*, 3> call{operand, result};
    if (seed) call.insert(call.begin(), seed);
    ir_.CreateCall(callee, call);
    results.push_back(ir_.CreateLoad(to, result));
  }
  return concat(results);
}

Value* ValueBuilder::call_bitcode(ScalarOp op, DType t, const std::vector<Value*>& args) {
  const unsigned native = static_cast<unsigned>(vector_bits_ / (8 * dtype_bytes(t)));
  const unsigned lanes = lanes_of(args[0]);
  if (const unsigned wide = wide_lanes(op, t); wide && lanes % wide == 0)
    return call_wide(op, args[0]);
  llvm::Type* reg = type(t, native);
  const std::vector<llvm::Type*> params(args.size(), reg);
  const llvm::FunctionCallee callee =
      module_.getOrInsertFunction(bitcode_name(op, t), llvm::FunctionType::get(reg, params, false));
  std::vector<std::vector<Value*>> operands;
  for (Value* a : args) operands.push_back(registers(a, native));
  std::vector<Value*> results;
  for (size_t i = 0; i < operands[0].size(); ++i) {
    llvm::SmallVector<Value*, 4> call;
    for (const auto& o : operands) call.push_back(o[i]);
    results.push_back(ir_.CreateCall(callee, call));
  }
  Value* all = concat(results);
  return lanes < native ? slice(all, 0, lanes) : all;
}

Value* ValueBuilder::call_random(ScalarOp op, DType t, Value* seed, Value* index) {
  OURJIT_CHECK(lanes_of(seed) == 1) << "the seed must be the same in all lanes";
  const unsigned native = static_cast<unsigned>(vector_bits_ / (8 * dtype_bytes(t)));
  const unsigned half = static_cast<unsigned>(vector_bits_ / 64);
  const unsigned lanes = lanes_of(index);
  if (const unsigned wide = wide_lanes(op, t); wide && lanes % wide == 0)
    return call_wide(op, index, seed);
  llvm::Type* reg = type(t, native);
  llvm::Type* indices = type(DType::i64, half);
  // One f32 register takes the indices of its lanes in two registers.
  std::vector<llvm::Type*> params{ir_.getInt64Ty()};
  params.resize(1 + native / half, indices);
  const llvm::FunctionCallee callee =
      module_.getOrInsertFunction(bitcode_name(op, t), llvm::FunctionType::get(reg, params, false));
  std::vector<Value*> results;
  for (Value* r : registers(index, native)) {
    llvm::SmallVector<Value*, 4> call{seed};
    for (unsigned i = 0; i < native; i += half) call.push_back(slice(r, i, half));
    results.push_back(ir_.CreateCall(callee, call));
  }
  Value* all = concat(results);
  return lanes < native ? slice(all, 0, lanes) : all;
}

}  // namespace ourjit
