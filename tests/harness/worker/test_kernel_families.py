import pytest

from harness.worker.kernel_families import FAMILIES, of_name, of_region


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("aten::mm", "matrix_product"),
        ("aten::addmm", "matrix_product"),
        ("ampere_sgemm_128x64_nn", "matrix_product"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix_product"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_TNT", "matrix_product"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64,128>>", "attention"),
        ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", "attention"),
        ("triton_tem_fused_flex_attention_0", "attention"),
        ("aten::_softmax", "softmax"),
        ("void (anonymous namespace)::softmax_warp_forward<float>", "softmax"),
        ("aten::exp_", "softmax"),
        ("aten::sort", "sort"),
        ("void at_cuda_detail::cub::DeviceRadixSortOnesweepKernel", "sort"),
        ("aten::gather", "gather_scatter"),
        ("aten::index_select", "gather_scatter"),
        ("aten::scatter_", "gather_scatter"),
        ("aten::embedding_dense_backward", "gather_scatter"),
        ("void at::native::vectorized_gather_kernel<16, long>", "gather_scatter"),
        ("aten::native_layer_norm_backward", "norm"),
        ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel", "norm"),
        ("aten::copy_", "copy"),
        ("Memcpy DtoD (Device -> Device)", "copy"),
        ("aten::to", "copy"),
        ("aten::t", "views_allocation"),
        ("aten::as_strided", "views_allocation"),
        ("aten::tanh", "elementwise"),
        ("aten::gelu_backward", "elementwise"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDA>", "elementwise"),
        ("aten::sum", "reduction"),
        ("aten::_fused_adamw_", "optimizer"),
        ("void at::native::multi_tensor_apply_kernel", "optimizer"),
        ("a_name_that_nobody_knows", "other"),
    ],
)
def test_a_name_has_one_family(name: str, family: str) -> None:
    assert of_name(name) == family
    assert family in FAMILIES


def test_regions_are_known_by_the_beginning_of_their_names() -> None:
    assert of_region("hash") == "hashing"
    assert of_region("Optimizer.step#AdamW.step") == "optimizer"
    assert of_region("aten::mm") is None
