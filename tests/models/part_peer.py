"""weaver-core's ParT, asked on jets of these tests."""

from tests.models.weaver_peer import ask

PEER = {
    "num_classes": 10,
    "use_pre_activation_pair": False,
    "embed_dims": [128, 512, 128],
    "num_heads": 8,
    "num_layers": 8,
    "num_cls_layers": 2,
    "cls_block_params": {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0},
    "fc_params": [],
    "trim": False,
}


def ask_part(directory, batch, pairs=True, **request):
    arguments = PEER | {"input_dim": batch.features.shape[-1]}
    arguments |= {"pair_input_dim": 4, "pair_embed_dims": [64, 64, 64]} if pairs else {"pair_input_dim": 0}
    return ask(
        directory,
        module="weaver.nn.model.ParticleTransformer",
        name="ParticleTransformer",
        arguments=arguments | request.pop("arguments", {}),
        inputs=(batch.features.transpose(1, 2),),
        keywords={"v": batch.vectors.transpose(1, 2), "mask": batch.mask[:, None]},
        label=batch.label,
        **request,
    )
