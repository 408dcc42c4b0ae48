"""A plain re-implementation of the official network, as oracle of the parity tests.

It works on official key names with functional PyTorch, masks with `nonzero` as the official code
does, and shares no code with the package.
"""

import json
import math

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

# void, then Cityscapes' train ids
PALETTE = [
    (0, 0, 0), (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153),
    (153, 153, 153), (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152),
    (0, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
    (0, 80, 100), (0, 0, 230), (119, 11, 32),
]  # fmt: skip

SMALL = {
    "vae": {
        "double_z": True,
        "z_channels": 4,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 3, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [32, 16],
        "dropout": 0.0,
    },
    "embed_dim": 4,
    "latent_scale": 0.5,
    "img_size": 24,
    "width": 48,
    "depth_encoder": 1,
    "depth_decoder": 2,
    "heads": 3,
    "mlp_ratio": 3,
    "layer_norm_eps": 1e-6,
    "diffusion_mlp_width": 40,
    "diffusion_mlp_depth": 1,
    "sampling_steps": 7,
    "train_steps": 1000,
}


class Weights:
    """Makes named random tensors on first use, and remembers them."""

    def __init__(self, seed):
        self.state = {}
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, name, *shape):
        if name not in self.state:
            value = torch.randn(shape, generator=self.generator)
            if name.endswith(".weight") and len(shape) == 1:  # of a norm
                value = 1 + 0.1 * value
            elif name.endswith(".bias"):
                value = 0.1 * value
            else:
                value = value / math.sqrt(math.prod(shape[1:]))
            self.state[name] = value.half()
        assert tuple(self.state[name].shape) == shape, name
        return self.state[name].float()

    def linear(self, name, x, outputs):
        weight = self(name + ".weight", outputs, x.shape[-1])
        return functional.linear(x, weight, self(name + ".bias", outputs))

    def layer_norm(self, name, x):
        width = x.shape[-1]
        weight, bias = self(name + ".weight", width), self(name + ".bias", width)
        return functional.layer_norm(x, (width,), weight, bias, 1e-6)

    def conv(self, name, x, outputs, kernel, stride=1, padding=0):
        weight = self(name + ".weight", outputs, x.shape[1], kernel, kernel)
        return functional.conv2d(x, weight, self(name + ".bias", outputs), stride, padding)

    def group_norm(self, name, x):
        channels = x.shape[1]
        weight, bias = self(name + ".weight", channels), self(name + ".bias", channels)
        return functional.group_norm(x, 32, weight, bias, 1e-6)


# --- LDM autoencoder ----------------------------------------------------------------------------


def swish(x):
    return x * torch.sigmoid(x)


def res_block(w, name, x, outputs):
    h = w.conv(name + ".conv1", swish(w.group_norm(name + ".norm1", x)), outputs, 3, padding=1)
    h = w.conv(name + ".conv2", swish(w.group_norm(name + ".norm2", h)), outputs, 3, padding=1)
    return h + (x if x.shape == h.shape else w.conv(name + ".nin_shortcut", x, outputs, 1))


def attention_block(w, name, x):
    batch, channels, height, width = x.shape
    h = w.group_norm(name + ".norm", x)
    q, k, v = (w.conv(f"{name}.{part}", h, channels, 1).flatten(2) for part in "qkv")
    share = (q.transpose(1, 2) @ k / math.sqrt(channels)).softmax(dim=-1)
    h = (v @ share.transpose(1, 2)).view(batch, channels, height, width)
    return x + w.conv(name + ".proj_out", h, channels, 1)


def middle(w, name, x):
    x = res_block(w, name + ".block_1", x, x.shape[1])
    x = attention_block(w, name + ".attn_1", x)
    return res_block(w, name + ".block_2", x, x.shape[1])


def encode_moments(w, config, image):
    vae = config["vae"]
    x = w.conv("encoder.conv_in", image, vae["ch"], 3, padding=1)
    resolution = vae["resolution"]
    for level, factor in enumerate(vae["ch_mult"]):
        name = f"encoder.down.{level}"
        for block in range(vae["num_res_blocks"]):
            x = res_block(w, f"{name}.block.{block}", x, vae["ch"] * factor)
            if resolution in vae["attn_resolutions"]:
                x = attention_block(w, f"{name}.attn.{block}", x)
        if level + 1 < len(vae["ch_mult"]):
            x = w.conv(name + ".downsample.conv", functional.pad(x, (0, 1, 0, 1)), x.shape[1], 3, 2)
            resolution //= 2
    x = swish(w.group_norm("encoder.norm_out", middle(w, "encoder.mid", x)))
    x = w.conv("encoder.conv_out", x, 2 * vae["z_channels"], 3, padding=1)
    return w.conv("quant_conv", x, 2 * config["embed_dim"], 1)


def decode_image(w, config, latent):
    vae = config["vae"]
    levels = len(vae["ch_mult"])
    x = w.conv("post_quant_conv", latent / config["latent_scale"], vae["z_channels"], 1)
    x = w.conv("decoder.conv_in", x, vae["ch"] * vae["ch_mult"][-1], 3, padding=1)
    x = middle(w, "decoder.mid", x)
    for level in reversed(range(levels)):
        name = f"decoder.up.{level}"
        for block in range(vae["num_res_blocks"] + 1):
            x = res_block(w, f"{name}.block.{block}", x, vae["ch"] * vae["ch_mult"][level])
            if vae["resolution"] // 2**level in vae["attn_resolutions"]:
                x = attention_block(w, f"{name}.attn.{block}", x)
        if level > 0:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = w.conv(name + ".upsample.conv", x, x.shape[1], 3, padding=1)
    return w.conv("decoder.conv_out", swish(w.group_norm("decoder.norm_out", x)), 3, 3, padding=1)


# --- Transformer --------------------------------------------------------------------------------


def vit_block(w, name, x, config):
    batch, length, width = x.shape
    heads = config["heads"]
    qkv = w.linear(name + ".attn.qkv", w.layer_norm(name + ".norm1", x), 3 * width)
    q, k, v = qkv.reshape(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    share = (q @ k.transpose(-2, -1) / math.sqrt(width // heads)).softmax(dim=-1)
    x = x + w.linear(name + ".attn.proj", (share @ v).transpose(1, 2).flatten(2), width)
    h = w.linear(name + ".mlp.fc1", w.layer_norm(name + ".norm2", x), width * config["mlp_ratio"])
    return x + w.linear(name + ".mlp.fc2", functional.gelu(h), width)


def mae_encoder(w, config, image_tokens, mask_tokens, mask):
    """mask: [B, 2n] float, 1 where masked."""
    width = config["width"]
    x = torch.cat(
        [w.linear("z_proj1", image_tokens, width), w.linear("z_proj2", mask_tokens, width)], dim=1
    )
    x = w.layer_norm("z_proj_ln", x + w("encoder_pos_embed_learned", 1, *x.shape[1:]))
    x = x[(1 - mask).nonzero(as_tuple=True)].reshape(len(x), -1, width)
    for index in range(config["depth_encoder"]):
        x = vit_block(w, f"encoder_blocks.{index}", x, config)
    return w.layer_norm("encoder_norm", x)


def mae_decoder(w, config, encoded, mask):
    width = config["width"]
    x = w.linear("decoder_embed", encoded, width)
    full = w("mask_token", 1, 1, width).repeat(*mask.shape, 1)
    full[(1 - mask).nonzero(as_tuple=True)] = x.reshape(-1, width)
    x = full + w("decoder_pos_embed_learned", 1, *full.shape[1:])
    for index in range(config["depth_decoder"]):
        x = vit_block(w, f"decoder_blocks.{index}", x, config)
    return w.layer_norm("decoder_norm", x) + w("diffusion_pos_embed_learned", 1, *full.shape[1:])


# --- Denoiser and diffusion ---------------------------------------------------------------------


def denoise(w, config, x, t, condition):
    width, channels = config["diffusion_mlp_width"], x.shape[-1]
    name = "diffloss.net"
    frequencies = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
    angles = t[:, None].float() * frequencies[None]
    time = torch.cat([angles.cos(), angles.sin()], dim=-1)
    time = swish(w.linear(name + ".time_embed.mlp.0", time, width))
    y = w.linear(name + ".time_embed.mlp.2", time, width)
    y = swish(y + w.linear(name + ".cond_embed", condition, width))
    x = w.linear(name + ".input_proj", x, width)
    for index in range(config["diffusion_mlp_depth"]):
        block = f"{name}.res_blocks.{index}"
        modulation = w.linear(block + ".adaLN_modulation.1", y, 3 * width)
        shift, scale, gate = modulation.chunk(3, dim=-1)
        h = w.layer_norm(block + ".in_ln", x) * (1 + scale) + shift
        h = w.linear(block + ".mlp.2", swish(w.linear(block + ".mlp.0", h, width)), width)
        x = x + gate * h
    final = name + ".final_layer"
    shift, scale = w.linear(final + ".adaLN_modulation.1", y, 2 * width).chunk(2, dim=-1)
    x = functional.layer_norm(x, (width,), eps=1e-6) * (1 + scale) + shift
    return w.linear(final + ".linear", x, 2 * channels)


class Diffusion:
    """Improved diffusion's tables for a subset of the timesteps of the cosine schedule."""

    def __init__(self, timesteps):
        def signal(t):
            return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [min(1 - signal((i + 1) / 1000) / signal(i / 1000), 0.999) for i in range(1000)]
        bars = np.cumprod(1 - np.array(betas))[timesteps]
        previous = np.append(1.0, bars[:-1])
        betas = 1 - bars / previous
        variance = betas * (1 - previous) / (1 - bars)
        self.bars = bars
        self.log_min = np.log(np.append(variance[1], variance[1:]))
        self.log_max = np.log(betas)
        self.weight_x0 = betas * np.sqrt(previous) / (1 - bars)
        self.weight_x = (1 - previous) * np.sqrt(1 - betas) / (1 - bars)

    def at(self, table, t):
        return torch.from_numpy(table)[t].float()[:, None]

    def q_sample(self, x0, t, noise):
        return self.at(np.sqrt(self.bars), t) * x0 + self.at(np.sqrt(1 - self.bars), t) * noise

    def posterior_mean(self, x0, x, t):
        return self.at(self.weight_x0, t) * x0 + self.at(self.weight_x, t) * x

    def model_mean_and_log_variance(self, output, x, t):
        epsilon, value = output.chunk(2, dim=-1)
        x0 = self.at(np.sqrt(1 / self.bars), t) * x
        x0 = x0 - self.at(np.sqrt(1 / self.bars - 1), t) * epsilon
        share = (value + 1) / 2
        log_variance = share * self.at(self.log_max, t) + (1 - share) * self.at(self.log_min, t)
        return self.posterior_mean(x0, x, t), log_variance

    def step(self, output, x, t, noise):
        mean, log_variance = self.model_mean_and_log_variance(output, x, t)
        return mean + (t != 0).float()[:, None] * torch.exp(0.5 * log_variance) * noise

    def loss(self, output, x0, x, t, noise):
        epsilon, _ = output.chunk(2, dim=-1)
        mean, log_variance = self.model_mean_and_log_variance(output, x, t)
        true_mean, true_log_variance = self.posterior_mean(x0, x, t), self.at(self.log_min, t)
        kl = 0.5 * (
            -1
            + log_variance
            - true_log_variance
            + torch.exp(true_log_variance - log_variance)
            + (true_mean - mean) ** 2 * torch.exp(-log_variance)
        )

        def cdf(z):
            return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

        upper = cdf(torch.exp(-0.5 * log_variance) * (x0 - mean + 1 / 255))
        lower = cdf(torch.exp(-0.5 * log_variance) * (x0 - mean - 1 / 255))
        inner = (upper - lower).clamp(min=1e-12).log()
        right = (1 - lower).clamp(min=1e-12).log()
        left = upper.clamp(min=1e-12).log()
        nll = -torch.where(x0 < -0.999, left, torch.where(x0 > 0.999, right, inner))
        bound = torch.where(t == 0, nll.mean(dim=1), kl.mean(dim=1)) / math.log(2)
        return ((noise - epsilon) ** 2).mean(dim=1) + bound


# --- The folder ---------------------------------------------------------------------------------


def write_parity_folder(directory, config=SMALL, seed=0, batch=3):
    """Write a folder of recorded numbers in the format that `verify-parity` reads."""
    random = torch.Generator().manual_seed(seed + 1)

    def randn(*shape):
        return torch.randn(shape, generator=random)

    vae, w = Weights(seed), Weights(seed + 2)
    size, channels = config["img_size"], config["embed_dim"]
    out = {"image": torch.rand((batch, 3, size, size), generator=random) * 2 - 1}
    out["vae.moments"] = encode_moments(vae, config, out["image"])
    out["vae.mode"] = out["vae.moments"][:, :channels].contiguous()
    out["image_tokens"] = (
        (out["vae.mode"] * config["latent_scale"]).permute(0, 2, 3, 1).flatten(1, 2)
    )
    tokens = out["image_tokens"].shape[1]

    blank = torch.zeros_like(out["image_tokens"])
    visible = torch.zeros(batch, tokens)
    mask = torch.cat([visible, torch.ones(batch, tokens)], dim=1)
    out["encoder_out"] = mae_encoder(w, config, out["image_tokens"], blank, mask)
    out["decoder_out"] = mae_decoder(w, config, out["encoder_out"], mask)
    condition = out["decoder_out"][:, tokens:].flatten(0, 1)

    def output_at(x, t, condition):
        return denoise(w, config, x, torch.full((len(x),), t), condition)

    out["denoiser.x_t"] = randn(batch * tokens, channels)
    for t in (0, 1, 640, 999):
        out[f"denoiser.out_t{t}"] = output_at(out["denoiser.x_t"], t, condition)

    steps = config["sampling_steps"]
    timesteps = [round(i * 999 / (steps - 1)) for i in range(steps)]
    respaced = Diffusion(timesteps)
    out["sampler.timesteps"] = torch.tensor(timesteps)
    out["sampler.noise"] = randn(steps + 1, batch * tokens, channels)
    x, chain = out["sampler.noise"][0], []
    for i in reversed(range(steps)):
        output = output_at(x, timesteps[i], condition)
        x = respaced.step(output, x, torch.full((len(x),), i), out["sampler.noise"][steps - i])
        chain.append(x)
    out["sampler.samples"] = torch.stack(chain)

    side = math.isqrt(tokens)
    out["decode.latent"] = randn(batch, channels, side, side) * config["latent_scale"]
    out["decode.image"] = decode_image(vae, config, out["decode.latent"])
    pixels = (out["decode.image"] * 0.5 + 0.5) * 255
    palette = torch.tensor(PALETTE, dtype=torch.float32)
    distance = ((pixels[:, None] - palette[None, :, :, None, None]) ** 2).sum(dim=2)
    out["decode.label"] = distance.argmin(dim=1).to(torch.uint8)

    order = torch.rand((batch, tokens), generator=random).argsort(dim=1)
    out["loss.mask"] = (order < round(0.75 * tokens)).float()
    out["loss.mask_latents"] = randn(batch, tokens, channels) * config["latent_scale"]
    mask = torch.cat([visible, out["loss.mask"]], dim=1)
    latents = out["loss.mask_latents"]
    encoded = mae_encoder(w, config, out["image_tokens"], latents, mask)
    out["loss.decoder_out"] = mae_decoder(w, config, encoded, mask)
    count = batch * 2 * tokens
    t = torch.randint(0, 1000, (count,), generator=random)
    t[0], t[-1] = 0, 999
    out["loss.t"], out["loss.noise"] = t, randn(count, channels)
    target = torch.cat([out["image_tokens"], latents], dim=1).flatten(0, 1)
    diffusion = Diffusion(list(range(1000)))
    x = diffusion.q_sample(target, t, out["loss.noise"])
    output = denoise(w, config, x, t, out["loss.decoder_out"].flatten(0, 1))
    out["loss.per_token"] = diffusion.loss(output, target, x, t, out["loss.noise"])
    out["loss.value"] = (out["loss.per_token"] * mask.flatten()).sum()[None] / mask.sum()

    (directory / "config.json").write_text(json.dumps(config))
    save_file(vae.state, str(directory / "vae_weights_fp16.safetensors"))
    save_file(w.state, str(directory / "transformer_weights_fp16.safetensors"))
    tensors = {name: value.contiguous().clone() for name, value in out.items()}
    save_file(tensors, str(directory / "tensors.safetensors"))
