/* The tokens that zlib would take: its search for matches and its lazy choice among them, told after each token which
 * one it really was. */
#ifndef DS_DEFLATE_PARSE_H
#define DS_DEFLATE_PARSE_H

#include "deflate/deflate.h"

typedef struct ds_parser ds_parser;

ds_status ds_parser_open(ds_parser **parser, ds_span content, const ds_deflate_style *style, ds_arena *arena);
void ds_parser_close(ds_parser *parser, ds_arena *arena);

/* Content that tokens were taken for. */
uint64_t ds_parser_at(const ds_parser *parser);
/* The token expected next; there must be content left. */
ds_token ds_parser_expect(ds_parser *parser);
/* The one that comes, not beyond the end. */
void ds_parser_take(ds_parser *parser, ds_token token);
/* Whether the search took more steps than ds_deflate_work allows. */
bool ds_parser_is_tired(const ds_parser *parser);

/* Tokens of a block, where it is not the last. */
uint64_t ds_style_block(const ds_deflate_style *style);
/* Whether the last block may be full: else an empty one follows a full one. */
bool ds_style_is_lazy(const ds_deflate_style *style);

#endif
