#include "codegen/llvm_emitter.h"

#include <llvm/IR/MDBuilder.h>
#include <llvm/Support/raw_ostream.h>

#include "base/error.h"
#include "codegen/llvm_kernel.h"
#include "codegen/llvm_module.h"

namespace ourjit {

namespace {

/// Locals of one kernel beyond this are not on the stack.
constexpr int64_t kMaxStackBytes = 256 * 1024;
constexpr int64_t kPageBytes = 4096;
constexpr uint64_t kLocalAlignment = 64;

[[noreturn]] void not_for_cpus() {
  OURJIT_RAISE(InternalError) << "a kernel with threads is for a GPU";
  std::abort();
}

Interval up_to(const Interval& extent) {
  constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();
  return {0, extent.high == kUnbounded ? kUnbounded : std::max<int64_t>(extent.high - 1, 0)};
}

}  // namespace

KernelEmitter::KernelEmitter(const loop::Kernel& k, const loop::Target& target,
                             llvm::Module& module)
    : k_(k),
      module_(module),
      ir_(module.getContext()),
      builder_(ir_, module, target.vector_bits),
      index_(builder_),
      values_(k.types.size(), nullptr),
      varying_values_(k.types.size(), false) {
  const std::string bits = std::to_string(target.vector_bits);
  auto* type = llvm::FunctionType::get(ir_.getVoidTy(), {ir_.getPtrTy()}, false);
  function_ = llvm::Function::Create(type, llvm::Function::ExternalLinkage, k.name, module);
  function_->setDoesNotThrow();
  function_->addFnAttr("prefer-vector-width", bits);
  function_->addFnAttr("min-legal-vector-width", bits);
  builder_.on_zero_division = [this](Value* bad) { record(bad, loop::Status::ZeroDivisionError); };
}

void KernelEmitter::run() {
  OURJIT_CHECK(k_.epilogue.empty()) << "@" << k_.name << " is for a GPU";
  mark_varying(k_.body);
  begin_function();
  block(k_.body);
  end_function();
}

llvm::BasicBlock* KernelEmitter::new_block(const char* name) {
  return llvm::BasicBlock::Create(ir_.getContext(), name, function_);
}

void KernelEmitter::begin_function() {
  ir_.SetInsertPoint(new_block("entry"));
  auto* ptr = ir_.getPtrTy();
  auto* i64 = ir_.getInt64Ty();
  auto* args_type = llvm::StructType::get(ir_.getContext(), {ptr, ptr, i64, i64, ptr});
  Value* args = function_->getArg(0);
  args->setName("args");
  const auto field = [&](unsigned i, const char* name) {
    return ir_.CreateLoad(args_type->getElementType(i), ir_.CreateStructGEP(args_type, args, i),
                          name);
  };
  Value* buffers = field(0, "buffers");
  for (size_t i = 0; i < k_.buffers.size(); ++i) {
    Value* slot = ir_.CreateConstInBoundsGEP1_64(ptr, buffers, i);
    memory_[k_.buffers[i].name] = ir_.CreateLoad(ptr, slot, k_.buffers[i].name);
  }
  Value* sizes = k_.sizes.empty() ? nullptr : field(1, "sizes");
  for (size_t i = 0; i < k_.sizes.size(); ++i) {
    Value* slot = ir_.CreateConstInBoundsGEP1_64(i64, sizes, i);
    const Interval range =
        is_size(k_.sizes[i]) ? Interval{0, std::numeric_limits<int64_t>::max()} : Interval{};
    index_.define(k_.sizes[i], ir_.CreateLoad(i64, slot, k_.sizes[i]), range);
  }
  begin_ = field(2, "begin");
  end_ = field(3, "end");
  status_ = field(4, "status");
  allocate_locals();
}

void KernelEmitter::allocate_locals() {
  int64_t total = 0;
  for (const loop::Local& l : k_.locals) {
    const int64_t bytes = l.size * dtype_bytes(l.dtype);
    const bool on_stack = total + bytes <= kMaxStackBytes;
    if (on_stack) {
      total += bytes;
      auto* type =
          llvm::ArrayType::get(builder_.memory_type(l.dtype), static_cast<uint64_t>(l.size));
      auto* slot = ir_.CreateAlloca(type, nullptr, l.name);
      slot->setAlignment(llvm::Align(kLocalAlignment));
      memory_[l.name] = slot;
      continue;
    }
    const auto allocate =
        module_.getOrInsertFunction(kScratchAllocate, ir_.getPtrTy(), ir_.getInt64Ty());
    auto* p = ir_.CreateCall(allocate, {builder_.i64(bytes)}, l.name);
    p->addRetAttr(llvm::Attribute::NoAlias);
    memory_[l.name] = p;
    scratch_.push_back(p);
  }
  // Larger frames could step over the stack's guard page.
  if (total > kPageBytes) function_->addFnAttr("probe-stack", "inline-asm");
}

void KernelEmitter::end_function() {
  for (Value* p : scratch_)
    ir_.CreateCall(module_.getOrInsertFunction(kScratchFree, ir_.getVoidTy(), ir_.getPtrTy()), {p});
  ir_.CreateRetVoid();
}

void KernelEmitter::block(const std::vector<loop::Node>& body) {
  for (const loop::Node& n : body) statement(n);
}

void KernelEmitter::statement(const loop::Node& n) {
  std::visit(
      loop::Overloaded{
          [&](const loop::Const& c) { value(c.result) = builder_.constant(c.dtype, c.bits); },
          [&](const loop::Index& i) { value(i.result) = index_.value(i.expr); },
          [&](const loop::Compute& c) { compute(c); },
          [&](const loop::Load& l) { load(l); },
          [&](const loop::Store& s) { store(s); },
          [&](const loop::Bind& b) { bind(b); },
          [&](const loop::Barrier&) { not_for_cpus(); },
          [&](const loop::For& f) {
            switch (f.kind) {
              case loop::LoopKind::Parallel:
                return parallel_loop(f);
              case loop::LoopKind::Serial:
                return serial_loop(f);
              case loop::LoopKind::Vector:
                return vector_loop(f);
              case loop::LoopKind::ThreadX:
              case loop::LoopKind::ThreadY:
                return not_for_cpus();
            }
          },
      },
      n.v);
}

void KernelEmitter::compute(const loop::Compute& c) {
  Values args;
  for (const loop::ValueId a : c.args) args.push_back(value(a));
  const DType operand = dtype(c.args.back());
  value(c.result) = builder_.compute(c.op, operand, c.dtype, std::move(args));
}

void KernelEmitter::bind(const loop::Bind& b) {
  Value* v = builder_.cast(value(b.value), dtype(b.value), DType::i64);
  Value* extent = builder_.broadcast(index_.uniform(b.extent), lanes_of(v));
  Value* zero = builder_.like_int(v, 0);
  if (b.wrap) v = ir_.CreateSelect(ir_.CreateICmpSLT(v, zero), ir_.CreateAdd(v, extent), v);
  Value* good = ir_.CreateICmpULT(v, extent);
  Value* bad = ir_.CreateNot(good);
  if (b.mask != loop::kNone) {
    std::vector<Value*> both{good, value(b.mask), v};
    builder_.unify(both);
    v = both[2];
    zero = builder_.like_int(v, 0);
    bad = ir_.CreateAnd(ir_.CreateNot(both[0]), both[1]);
    good = ir_.CreateAnd(both[0], both[1]);
  }
  record(bad, loop::Status::IndexError);
  v = ir_.CreateSelect(good, v, zero);
  const Interval range = up_to(index_.range(b.extent));
  if (lanes_of(v) > 1)
    index_.define_vector(b.symbol, v, range);
  else
    index_.define(b.symbol, v, range);
}

Value* KernelEmitter::with_lane_mask(Value* v) {
  if (!v) return lane_mask_;
  v = builder_.broadcast(v, lanes_);
  return lane_mask_ ? ir_.CreateAnd(lane_mask_, v) : v;
}

void KernelEmitter::record(Value* bad, loop::Status s) {
  if (const auto* known = llvm::dyn_cast<llvm::Constant>(bad); known && known->isZeroValue())
    return;
  if (lanes_of(bad) > 1) bad = builder_.any(with_lane_mask(bad));
  auto* error = new_block("error");
  auto* after = new_block("ok");
  ir_.CreateCondBr(bad, error, after,
                   llvm::MDBuilder(ir_.getContext()).createBranchWeights(1, 1 << 20));
  ir_.SetInsertPoint(error);
  // Tasks may race to record: any of their errors will do.
  const llvm::Align align(4);
  auto* old = ir_.CreateAlignedLoad(ir_.getInt32Ty(), status_, align);
  old->setAtomic(llvm::AtomicOrdering::Monotonic);
  Value* next = ir_.CreateSelect(ir_.CreateICmpEQ(old, ir_.getInt32(0)),
                                 ir_.getInt32(static_cast<uint32_t>(s)), old);
  ir_.CreateAlignedStore(next, status_, align)->setAtomic(llvm::AtomicOrdering::Monotonic);
  ir_.CreateBr(after);
  ir_.SetInsertPoint(after);
}

std::unique_ptr<llvm::Module> build_llvm_module(const loop::Kernel& k, const loop::Target& target,
                                                llvm::LLVMContext& context) {
  auto module = std::make_unique<llvm::Module>(k.name, context);
  KernelEmitter(k, target, *module).run();
  return module;
}

std::string emit_llvm_text(const loop::Kernel& k, const loop::Target& target) {
  llvm::LLVMContext context;
  std::string text;
  llvm::raw_string_ostream out(text);
  build_llvm_module(k, target, context)->print(out, nullptr);
  return text;
}

}  // namespace ourjit
