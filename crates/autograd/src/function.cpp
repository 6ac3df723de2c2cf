// A node of libtorch's graph whose backward pass is a closure of Rust's. tch binds no such thing.
//
// What crosses the border: tensors as pointers to at::Tensor on the heap, as tch holds them, and a message where something
// failed. No exception leaves this file towards Rust, and none of Rust's panics comes in.

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/headeronly/version.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using at::Tensor;
using torch::autograd::Node;
using torch::autograd::variable_list;

constexpr size_t kMessage = 2048; // bytes, with the end

// Takes over `gradients` (one an output, undefined where none arrived), puts one tensor or null an input into `results`,
// which the caller takes over. Returns 0, or not 0 with a message.
using Backward = int (*)(void *closure, Tensor **gradients, size_t outputs, const bool *wanted, Tensor **results,
                         size_t inputs, char *message, size_t capacity);
using Release = void (*)(void *closure);

struct ClosureNode final : Node {
  ClosureNode(torch::autograd::edge_list &&edges, Backward backward, Release release)
      : Node(std::move(edges)), backward_(backward), release_(release) {}

  ~ClosureNode() override { let_go(); }

  void release_variables() override {
    std::lock_guard<std::mutex> lock(mutex_);
    let_go();
  }

  // The closure becomes the node's once nothing can fail any more.
  void adopt(void *closure) { closure_ = closure; }

  std::string name() const override { return "klang::Function"; }

  variable_list apply(variable_list &&arriving) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (closure_ == nullptr) {
      throw std::runtime_error("the graph was walked before, and nothing of it was kept");
    }
    const size_t inputs = num_outputs(); // a node's outputs are gradients by its function's inputs
    std::vector<Tensor *> gradients;
    gradients.reserve(arriving.size());
    for (const auto &gradient : arriving) {
      gradients.push_back(new Tensor(gradient));
    }
    std::unique_ptr<bool[]> wanted(new bool[inputs]);
    for (size_t input = 0; input < inputs; ++input) {
      wanted[input] = task_should_compute_output(input);
    }
    std::vector<Tensor *> results(inputs, nullptr);
    char message[kMessage] = {0};
    const int failed = backward_(closure_, gradients.data(), gradients.size(), wanted.get(), results.data(), inputs,
                                 message, kMessage);
    variable_list found(inputs);
    for (size_t input = 0; input < inputs; ++input) {
      if (results[input] != nullptr) {
        found[input] = std::move(*results[input]);
        delete results[input];
      }
    }
    if (failed != 0) {
      throw std::runtime_error(message);
    }
    return found;
  }

private:
  void let_go() {
    if (closure_ != nullptr) {
      release_(closure_);
      closure_ = nullptr;
    }
  }

  void *closure_ = nullptr;
  Backward backward_;
  Release release_;
};

void say(const char *what, char *message, size_t capacity) {
  std::strncpy(message, what, capacity - 1);
  message[capacity - 1] = 0;
}

} // namespace

// Makes `outputs` what a function gave for `inputs`. Returns 1 and takes the closure over; 0 where nothing records, or no
// input has a gradient; -1 with a message where it failed. In the last two cases the closure stays the caller's.
extern "C" int klang_autograd_attach(Tensor *const *inputs, size_t input_count, Tensor *const *outputs,
                                     size_t output_count, void *closure, Backward backward, Release release,
                                     char *message, size_t capacity) {
  try {
    if (!at::GradMode::is_enabled()) {
      return 0;
    }
    torch::autograd::edge_list edges;
    bool records = false;
    for (size_t input = 0; input < input_count; ++input) {
      records = records || inputs[input]->requires_grad();
      edges.push_back(torch::autograd::impl::gradient_edge(*inputs[input]));
    }
    if (!records) {
      return 0;
    }
    for (size_t output = 0; output < output_count; ++output) {
      if (outputs[output]->requires_grad() || outputs[output]->is_view()) {
        throw std::runtime_error("an output belongs to a graph already, or is a view of another tensor");
      }
    }
    std::shared_ptr<ClosureNode> node(new ClosureNode(std::move(edges), backward, release),
                                      torch::autograd::deleteNode);
    for (size_t output = 0; output < output_count; ++output) {
      torch::autograd::set_history(*outputs[output], node);
    }
    node->adopt(closure);
    return 1;
  } catch (const std::exception &error) {
    say(error.what(), message, capacity);
  } catch (...) {
    say("an exception without a message", message, capacity);
  }
  return -1;
}

extern "C" const char *klang_libtorch_version() { return TORCH_VERSION; }
